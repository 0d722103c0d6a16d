"""Choosing sigma, size and strength by how raters differ."""
