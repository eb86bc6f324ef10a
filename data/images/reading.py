"""Scans and label maps in: one reader for all formats; what is irregular is mended and noted, or refused.

.nii and .nii.gz go through nibabel, .nrrd, .mha and .mhd through SimpleITK. The writers live in
`gridgate.data.images.writing` and are offered here too.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from ..errors import ImageError
from ..geometry.grids import Affine, Grid
from .itk import read_itk_header, read_itk_voxels
from .names import IMAGE_SUFFIXES, case_id, find_images
from .nifti import choose_affine, read_header, read_voxels
from .writing import smallest_unsigned, write_image, write_labels

__all__ = [
    "IMAGE_SUFFIXES",
    "Image",
    "case_id",
    "find_images",
    "read_grid",
    "read_image",
    "read_labels",
    "smallest_unsigned",
    "write_image",
    "write_labels",
]

_NIFTI_SUFFIXES = (".nii.gz", ".nii")
# A label stored through slope and intercept comes back with rounding of this order; more is a real
# fraction.
_WHOLE = 1e-4


@dataclass
class Image:
    """A scan or a label map, and where its voxels are.

    Args:
        array: (X, Y, Z), or (C, X, Y, Z) when more than one channel was asked for; memory order as
            in the file.
        grid: shape (X, Y, Z) and affine, RAS+ mm.
        path: the file it came from.
        header: the file's header when it is NIfTI, for writing results in the same grid; else None.
        notes: what was mended or guessed, in words; empty for a regular file.
    """

    array: NDArray[np.generic]
    grid: Grid
    path: Path
    header: nib.Nifti1Header | None
    notes: tuple[str, ...]


def read_image(
    path: str | Path,
    *,
    channels: int = 1,
    non_finite: Literal["error", "replace"] = "error",
    keep_integers: bool = False,
) -> Image:
    """Read a scan as float32, or as the integers it is stored as, its scaling applied once.

    Args:
        path: a file with one of IMAGE_SUFFIXES.
        channels: numbers a voxel. 1 takes (X, Y, Z) and trailing axes of length 1; C > 1 takes (X,
            Y, Z, C), (X, Y, Z, 1, C), or C components a voxel.
        non_finite: NaN and infinity are an "error", or "replace" puts the lowest finite value there
            and notes it.
        keep_integers: a file of integers with the slope 1 and a whole intercept, as CTs are stored,
            stays int16, or int32 when int16 does not hold its values (float32 when int32 does not
            either): half the memory, and no copy.

    Returns:
        Image, array (X, Y, Z) or (C, X, Y, Z), float32 (int16 or int32 with `keep_integers`), in
        the file's units (HU for CT).

    Raises:
        ImageError: names the file, what is wrong and what to do: missing, not readable, cut off,
            damaged, not an image, another number of axes or channels, RGB or complex voxels, no
            usable geometry, NaN or infinity.
    """
    path = Path(path)
    with _named(path):
        raw = _read(path)
        stored = _channels_first(raw.stored, channels)
        whole = _as_integers(stored, raw.slope, raw.inter) if keep_integers else None
        if whole is not None:
            return Image(whole, Grid(_shape3(whole), raw.affine), path, raw.header, raw.notes)
        with np.errstate(over="ignore", invalid="ignore"):
            array = stored.astype(np.float32, order="K", copy=False)
            if raw.slope != 1.0:
                array *= np.float32(raw.slope)
            if raw.inter != 0.0:
                array += np.float32(raw.inter)
        notes = raw.notes + _settle_non_finite(array, non_finite)
        return Image(array, Grid(_shape3(array), raw.affine), path, raw.header, notes)


def read_labels(path: str | Path) -> Image:
    """Read a label map as the smallest unsigned integer type that holds its largest value.

    Whole numbers stored as floating point, or through slope and intercept, are fine.

    Args:
        path: a file with one of IMAGE_SUFFIXES, one number a voxel.

    Returns:
        Image, array (X, Y, Z), uint8, uint16 or wider.

    Raises:
        ImageError: as `read_image`; and when a value is a fraction, negative, NaN or infinite.
    """
    path = Path(path)
    with _named(path):
        raw = _read(path)
        stored = _channels_first(raw.stored, 1)
        if stored.dtype.kind == "f" or raw.slope != 1.0 or raw.inter != 0.0:
            stored = _whole_numbers(stored.astype(np.float64) * raw.slope + raw.inter)
        lowest, highest = int(stored.min()), int(stored.max())
        if lowest < 0:
            raise ImageError(f"it holds the negative value {lowest}, so it is not a label map")
        array = np.array(stored, dtype=smallest_unsigned(highest), order="K")
        return Image(array, Grid(_shape3(array), raw.affine), path, raw.header, raw.notes)


def read_grid(path: str | Path) -> Grid:
    """The grid of a file, from its header alone.

    Raises:
        ImageError: missing, not readable, not an image, fewer than three axes, no usable geometry.
    """
    path = Path(path)
    with _named(path):
        if not _is_nifti(path):
            shape, affine, _ = read_itk_header(path)
            return Grid(shape, affine)
        header = read_header(path)
        sizes = tuple(int(size) for size in header.get_data_shape())
        if len(sizes) < 3:
            raise ImageError(f"it has the axes {sizes}, a volume has three")
        return Grid((sizes[0], sizes[1], sizes[2]), choose_affine(header).affine)


@dataclass(frozen=True, eq=False)
class _Raw:
    stored: NDArray[np.generic]
    affine: Affine
    header: nib.Nifti1Header | None = None
    slope: float = 1.0
    inter: float = 0.0
    notes: tuple[str, ...] = ()


def _read(path: Path) -> _Raw:
    if not _is_nifti(path):
        stored, affine, notes = read_itk_voxels(path)
        return _Raw(stored, affine, notes=notes)
    voxels = read_voxels(path)
    why = voxels.choice.why
    return _Raw(
        voxels.stored,
        voxels.choice.affine,
        voxels.header,
        voxels.slope,
        voxels.inter,
        (why,) if why else (),
    )


def _is_nifti(path: Path) -> bool:
    # Opened here because ITK has no words for it, and so that every format gives one answer.
    with open(path, "rb") as stream:
        empty = not stream.read(1)
    name = path.name.lower()
    if not name.endswith(IMAGE_SUFFIXES):
        raise ImageError(
            f"its suffix is none of {', '.join(IMAGE_SUFFIXES)}; convert it to one of them"
        )
    if empty:
        raise ImageError("the file is empty (zero bytes); copy or convert it again")
    return name.endswith(_NIFTI_SUFFIXES)


def _channels_first(stored: NDArray[np.generic], channels: int) -> NDArray[np.generic]:
    shape = stored.shape
    if channels == 1:
        if len(shape) >= 3 and all(size == 1 for size in shape[3:]):
            return stored.reshape(shape[:3], order="A")
        raise ImageError(
            f"it has the axes {shape}; a volume of one channel has three: split or stack it first"
        )
    if len(shape) == 5 and shape[3] == 1:
        stored = stored[:, :, :, 0]
    if stored.ndim != 4 or stored.shape[3] != channels:
        raise ImageError(f"it has the axes {shape}; {channels} channels need (X, Y, Z, {channels})")
    return np.moveaxis(stored, -1, 0)


def _shape3(array: NDArray[np.generic]) -> tuple[int, int, int]:
    x, y, z = array.shape[-3:]
    return x, y, z


def _as_integers(
    stored: NDArray[np.generic], slope: float, inter: float
) -> NDArray[np.generic] | None:
    """The values as int16 or int32, in the same memory where possible; None when they are not whole or too large."""
    if stored.dtype.kind not in "iu" or slope != 1.0 or not inter.is_integer():
        return None
    held = np.iinfo(np.dtype(stored.dtype).name)
    lowest, highest = int(held.min), int(held.max)
    shift = int(inter)
    if shift or not np.can_cast(stored.dtype, np.int16):
        lowest, highest = int(stored.min()) + shift, int(stored.max()) + shift
    for dtype in (np.int16, np.int32):
        limits = np.iinfo(dtype)
        if limits.min <= lowest and highest <= limits.max:
            break
    else:
        return None
    whole: NDArray[Any]
    if stored.dtype == np.uint16 and dtype is np.int16:
        whole = stored.view(np.int16)  # the same bits, so no copy
    else:
        whole = stored.astype(dtype, order="K", copy=False)
    if shift:
        # Integers wrap around: where the sum fits, it is right even if what is stored, or the
        # shift, does not fit.
        whole += np.asarray(shift).astype(dtype)
    return whole


def _settle_non_finite(
    array: NDArray[np.float32], non_finite: Literal["error", "replace"]
) -> tuple[str, ...]:
    # One pass without a temporary array: the sum is finite unless a voxel is not, or the sum
    # overflows.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return ()
    bad = ~np.isfinite(array)
    count = int(bad.sum())
    if count == 0:
        return ()
    if count == array.size:
        raise ImageError("none of its voxels is a finite number")
    if non_finite == "error":
        raise ImageError(
            f"{count} of {array.size} voxels are NaN or infinite; mend the file, or ask for them "
            "to be replaced"
        )
    lowest = array.min(where=~bad, initial=np.inf)
    array[bad] = lowest
    return (
        f"{count} NaN or infinite voxels were replaced by the lowest finite value, "
        f"{float(lowest):g}",
    )


def _whole_numbers(values: NDArray[np.float64]) -> NDArray[np.int64]:
    if not np.isfinite(values).all():
        raise ImageError(
            f"{int((~np.isfinite(values)).sum())} of its voxels are NaN or infinite, so it is no "
            "label map"
        )
    whole = np.rint(values)
    fractions = np.abs(values - whole) > _WHOLE
    if fractions.any():
        example = float(values[fractions][0])
        raise ImageError(
            f"{int(fractions.sum())} of its voxels are fractions (for instance {example:g}), "
            "so it is not a label map; if it was resampled, do so again with nearest neighbours"
        )
    if np.abs(whole).max() >= 2.0**63:
        raise ImageError(f"it holds the value {np.abs(whole).max():g}, so it is not a label map")
    return whole.astype(np.int64)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn whatever reading can raise into an ImageError that begins with the file's name."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error.__cause__
    except FileNotFoundError:
        raise ImageError(f"{path}: the file does not exist; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: this is a folder, an image file is needed") from None
    except PermissionError:
        raise ImageError(f"{path}: no permission to read it; ask for read access") from None
    except (EOFError, zlib.error) as error:
        raise ImageError(
            f"{path}: the file is cut off or damaged ({error}); copy or convert it again"
        ) from error
    except (HeaderDataError, WrapStructError, ImageFileError) as error:
        raise ImageError(
            f"{path}: its NIfTI header is damaged ({error}); convert it again"
        ) from error
    except MemoryError as error:
        raise ImageError(
            f"{path}: its voxels do not fit into memory; crop or resample it first"
        ) from error
    except OSError as error:
        # Without an error number it is nibabel or gzip that found too few bytes or a wrong
        # checksum.
        if error.errno is None:
            raise ImageError(
                f"{path}: the file is cut off or damaged ({error}); copy or convert it again"
            ) from error
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
