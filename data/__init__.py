"""What a case is, where it comes from, and whether it is sound.

Geometry of voxel grids (RAS+ mm), NIfTI, ITK and DICOM in and out, labels' names, colours and
codes, what a user gives as input, dataset folders, folds, and the phantom. Uses numpy, scipy,
nibabel, SimpleITK, pydicom and highdicom only; knows nothing of the other rooms.
"""
