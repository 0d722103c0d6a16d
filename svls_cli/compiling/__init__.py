"""From label maps to a store of soft labels, or to consensus label maps."""
