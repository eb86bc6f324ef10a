"""Whether a dataset is sound: what is measured of each case, what is found, what can be mended."""
