"""DICOM segmentations: a label map as a DICOM SEG object of the series that it was made from."""

from .write import write_dicom_seg

__all__ = ["write_dicom_seg"]
