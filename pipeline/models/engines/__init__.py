"""What computes a network's forward pass on windows: PyTorch, or another library that is faster."""
