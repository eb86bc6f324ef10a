"""Writing predictions: masks, probabilities, DICOM SEG."""
