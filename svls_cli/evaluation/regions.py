"""Where calibration is measured."""

REGION_NAMES = {
    "whole": "whole volume",
    "foreground": "reference foreground",
    "band": "boundary band",
}
