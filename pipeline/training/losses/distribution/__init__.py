"""Losses of each voxel's label distribution: cross-entropy and its weighted forms."""
