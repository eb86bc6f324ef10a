"""Affines, grids and boxes: pure functions on arrays; RAS+ mm, voxel indices."""
