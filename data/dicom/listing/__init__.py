"""Which DICOM series files make up, from their headers alone."""
