"""Sums of losses of several kinds, as papers train with them."""
