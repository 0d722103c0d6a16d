"""What goes out: the soft-label store, Zarr v3 and OME-Zarr 0.5."""
