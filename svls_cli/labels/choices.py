"""Names to choose from, so that help and checks need not load NumPy."""

from typing import Literal

# What becomes of a voxel in several masks: its case fails; it goes to the first of
# these classes; to the last, as if they were painted in order; or they share it evenly.
Overlap = Literal["fail", "first", "last", "share"]
OVERLAPS: tuple[Overlap, ...] = ("fail", "first", "last", "share")
