"""The commands that make, check and plan for datasets."""
