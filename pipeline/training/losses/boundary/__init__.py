"""Losses of how far the boundaries of two regions are from each other."""
