"""One image in and out: NIfTI, NRRD and MetaImage; masks in the scan's own grid."""
