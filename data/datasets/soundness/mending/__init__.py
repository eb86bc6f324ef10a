"""A mended copy of a dataset."""
