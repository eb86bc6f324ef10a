"""One image in and out: scans of any format, label maps, and masks in the scan's own grid.

`reading` chooses the reader, of which `formats` holds one per format; a NIfTI's affine is decided
in `formats/nifti_affine.py`.
"""
