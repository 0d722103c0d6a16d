"""Pages that people look at: an index of a store's cases, and a page for each."""
