"""All files that an image is made of: a header, the voxels beside it, SPM's affine."""

import zlib
from pathlib import Path

from ..errors import ImageError
from .formats.text_headers import detached_files
from .names import HEADER_SUFFIXES, IMG_SUFFIXES, case_id, header_of, voxels_of

DETACHED_SUFFIXES = (".mhd", ".nhdr", ".nrrd")
"""Headers that may name other files for their voxels."""


def files_of(path: str | Path) -> list[Path]:
    """The files on which an image's voxels and place depend, the given one first.

    Args:
        path: of an image, or of anything else, which is one file.

    >>> [file.name for file in files_of("scan.nii.gz")]
    ['scan.nii.gz']
    """
    path = Path(path)
    name = path.name.lower()
    found = [path]
    try:
        if name.endswith(DETACHED_SUFFIXES):
            found += detached_files(path)
        voxels = voxels_of(path)
        found += [voxels] if voxels is not None else []
        found.append(header_of(path))
        if name.endswith(HEADER_SUFFIXES + IMG_SUFFIXES):
            mat = path.with_name(f"{case_id(path)}.mat")
            found += [mat] if mat.is_file() else []
    except (ImageError, OSError, EOFError, zlib.error):
        pass  # reading it will say what is wrong
    return list(dict.fromkeys(found))
