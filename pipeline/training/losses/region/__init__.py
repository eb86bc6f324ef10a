"""Losses of how much of two regions overlaps: Dice and its relatives."""
