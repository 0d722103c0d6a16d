"""Names to choose from, so that help and checks need not load NumPy."""

from typing import Literal

# What becomes of a voxel in several masks: its case fails; it goes to the class that
# comes first among the classes; or they share it evenly.
Overlap = Literal["fail", "first", "share"]
OVERLAPS: tuple[Overlap, ...] = ("fail", "first", "share")
