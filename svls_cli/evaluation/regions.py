"""Where calibration is measured.

Every voxel, those that the rater gave another label than background, and those near a
boundary of any rater.
"""

REGION_NAMES = {
    "whole": "whole volume",
    "foreground": "reference foreground",
    "band": "boundary band",
}
REGIONS = tuple(REGION_NAMES)
