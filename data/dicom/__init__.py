"""From a DICOM series to a volume in HU, and from a label map to DICOM SEG."""
