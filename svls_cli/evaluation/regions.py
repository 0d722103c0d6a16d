"""Regions in which calibration is measured.

All voxels; voxels that the rater gave another label than background; and voxels near a
boundary of any rater.
"""

REGION_NAMES = {
    "whole": "whole volume",
    "foreground": "reference foreground",
    "band": "boundary band",
}
REGIONS = tuple(REGION_NAMES)
