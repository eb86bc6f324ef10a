"""What a case is, where it comes from, and whether it is sound.

Geometry of voxel grids (RAS+ mm), NIfTI and ITK files in and out, dataset folders, folds, and the phantom.
Uses numpy, scipy, nibabel and SimpleITK only, and knows nothing of the other rooms.
"""
