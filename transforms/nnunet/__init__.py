"""nnU-Net's preprocessing, for models that it trained: the same grid and the same intensities."""
