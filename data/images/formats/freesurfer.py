"""FreeSurfer's .mgz and .mgh, through nibabel."""

from io import IOBase
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder
from numpy.typing import NDArray

from ...geometry.affines import Affine
from ..compression import opened, read_to_end

# Bytes 28 and 29 of the header, big endian: whether it holds a place and a direction.
_GOOD_RAS = slice(28, 30)


def read_mgh_header(path: Path) -> tuple[tuple[int, ...], Affine, tuple[str, ...]]:
    """Shape, affine (RAS+ mm) and notes of a .mgz or .mgh file, without its voxels.

    Raises:
        ImageError, OSError, EOFError, zlib.error: the file cannot be read.
    """
    with opened(path) as stream:
        start = stream.read(_GOOD_RAS.stop)
        stream.seek(0)
        header = nib.freesurfer.MGHImage.header_class.from_fileobj(stream)
    return tuple(header.get_data_shape()), np.asarray(header.get_affine()), _notes(start)


def read_mgh_voxels(path: Path) -> tuple[NDArray[np.generic], Affine, tuple[str, ...]]:
    """Array (X, Y, Z) or (X, Y, Z, frames), affine (RAS+ mm) and notes of a .mgz or .mgh file.

    Raises:
        ImageError, OSError, EOFError, zlib.error: the file cannot be read or is cut off.
    """
    with opened(path) as stream:
        start = stream.read(_GOOD_RAS.stop)
        stream.seek(0)
        holder = FileHolder(fileobj=cast(IOBase, stream))
        image = nib.freesurfer.MGHImage.from_file_map({"image": holder})
        array = np.asarray(image.dataobj)
        stream.seek(0)
        read_to_end(stream)  # a damaged file must not pass for a whole one
        return array, np.asarray(image.affine), _notes(start)


def _notes(start: bytes) -> tuple[str, ...]:
    if any(start[_GOOD_RAS]):
        return ()
    return (
        "geometry: the header gives no orientation, FreeSurfer's default (coronal, 1 mm, LIA) is "
        "used: check left and right, and the spacing",
    )
