"""AFNI's .HEAD/.BRIK and Philips' .PAR/.REC, text headers with their voxels beside, by nibabel.

A .BRIK or .REC file may be compressed. Errors are `ImageError` without the file's name.
"""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.brikhead import AFNIImage
from nibabel.fileholders import FileHolder
from nibabel.parrec import PARRECError, PARRECImage
from numpy.typing import NDArray

from ...errors import ImageError
from ...geometry.affines import Affine, why_unusable
from ..compression import opened, read_to_end
from ..names import AFNI_SUFFIXES, header_of, voxels_of

# What nibabel raises about a header that lacks something or has it in another form.
_DAMAGE = (
    PARRECError,
    nib.spatialimages.HeaderDataError,
    nib.spatialimages.ImageDataError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
_CONSOLE_VALUES = (
    "the REC file's values are those of the scanner's console (DV = stored * rescale slope + "
    "rescale intercept), not its floating point values (FP)"
)


def read_pair_header(path: Path) -> tuple[tuple[int, ...], Affine, tuple[str, ...]]:
    """Shape, affine (RAS+ mm) and notes of an AFNI or Philips header, without its voxels.

    Args:
        path: of either file.

    Raises:
        ImageError: the header cannot be understood or gives no geometry, or the other file of the
            two is missing.
        OSError, EOFError, zlib.error: the file cannot be read.
    """
    image, notes = _image(path, io.BytesIO())
    return tuple(image.shape), _affine(image), notes


def read_pair_voxels(path: Path) -> tuple[NDArray[np.generic], Affine, tuple[str, ...]]:
    """Array (X, Y, Z) or (X, Y, Z, volumes), affine (RAS+ mm) and notes of AFNI's or Philips' pair.

    The scaling is applied: per sub-brick in AFNI, per slice in REC; without one, integers stay.

    Args:
        path: of either file.

    Raises:
        ImageError: as for `read_pair_header`, and for complex voxels.
        OSError, EOFError, zlib.error: a file cannot be read or is cut off.
    """
    voxels = voxels_of(path)
    assert voxels is not None
    with opened(voxels) as stream:
        image, notes = _image(path, stream)
        affine = _affine(image)
        if image.header.get_data_dtype().kind not in "iuf":
            raise ImageError("its voxels are complex, not real numbers; store magnitudes instead")
        array = np.asarray(image.dataobj)
        stream.seek(0)
        read_to_end(stream)  # a damaged file must not pass for a whole one
    return array, affine, notes


def _image(path: Path, voxels: Any) -> tuple[Any, tuple[str, ...]]:
    """Nibabel's image of a header; its voxels are read from the given stream when asked for."""
    afni = path.name.lower().endswith(AFNI_SUFFIXES)
    with opened(header_of(path)) as stream:
        text = stream.read().decode("utf-8", errors="replace").replace("\r\n", "\n")
    files = {"header": FileHolder(fileobj=io.StringIO(text)), "image": FileHolder(fileobj=voxels)}
    notes: list[str] = [] if afni else [_CONSOLE_VALUES]
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            image = (AFNIImage if afni else PARRECImage).from_file_map(files, mmap=False)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, KeyError):
            reason = f"it lacks {error.args[0]}"
        format_ = "AFNI" if afni else "PAR"
        raise ImageError(
            f"its {format_} header cannot be understood ({reason}); convert it to NIfTI"
        ) from error
    notes += [" ".join(str(one.message).split()).replace("; ", ", ") for one in told]
    return image, tuple(notes)


def _affine(image: Any) -> Affine:
    affine = np.asarray(image.affine, dtype=np.float64)
    trouble = why_unusable(affine)
    if trouble is not None:
        raise ImageError(f"its header gives no usable geometry ({trouble}); convert it to NIfTI")
    return affine
