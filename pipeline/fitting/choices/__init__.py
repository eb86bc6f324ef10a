"""What cross-validation chooses: thresholds of regions, and which pieces of a label are kept."""
