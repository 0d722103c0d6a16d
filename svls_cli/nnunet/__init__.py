"""Soft labels for nnU-Net (extra ``nnunet``): its grids, its trainer, its loss."""
