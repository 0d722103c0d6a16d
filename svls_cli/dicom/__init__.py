"""Labels as hospitals keep them: DICOM segmentations, contours and image series."""
