"""The forward and backward pass of a training: their context, other ways, CUDA graphs."""
