"""The sliding window: grid, forward pass, accumulator, slabs."""
