"""From a dataset to a cross-validated bundle, in a given time: `gridgate fit`."""
