"""Bundles of MONAI's model zoo, and others of its kind, as bundles of Gridgate."""
