"""Scans and label maps in: one reader for all formats; what is irregular is mended or refused.

NIfTI, Analyze, AFNI, MINC 1, FreeSurfer's and Philips' files go through nibabel, NRRD, MetaImage,
GIPL, VTK, MINC 2 and ITK's HDF5 through SimpleITK. The writers live in
`gridgate.data.images.writing` and are offered here too.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from ..errors import ImageError
from ..geometry.affines import Affine
from ..geometry.grids import Grid
from .compression import opened
from .formats.afni_par_rec import read_pair_header, read_pair_voxels
from .formats.analyze import read_analyze_header, read_analyze_voxels
from .formats.freesurfer import read_mgh_header, read_mgh_voxels
from .formats.itk import read_itk_header, read_itk_voxels
from .formats.minc import read_minc_header, read_minc_voxels
from .formats.nifti_affine import choose_affine
from .formats.nifti_voxels import is_nifti_pair, read_header, read_voxels
from .image import Image
from .names import (
    AFNI_SUFFIXES,
    FREESURFER_SUFFIXES,
    HEADER_SUFFIXES,
    IMAGE_SUFFIXES,
    IMG_SUFFIXES,
    MINC_SUFFIXES,
    NIFTI_SUFFIXES,
    PHILIPS_SUFFIXES,
    VOXEL_SUFFIXES,
    case_id,
    find_images,
)
from .values import as_integers, channels_first, settle_non_finite, whole_numbers
from .writing import smallest_unsigned, write_image, write_labels

__all__ = [
    "IMAGE_SUFFIXES",
    "Image",
    "case_id",
    "find_images",
    "read_axes",
    "read_grid",
    "read_image",
    "read_labels",
    "smallest_unsigned",
    "write_image",
    "write_labels",
]


def read_image(
    path: str | Path,
    *,
    channels: int = 1,
    non_finite: Literal["error", "replace", "zero"] = "error",
    keep_integers: bool = False,
) -> Image:
    """Read a scan as float32, or as the integers it is stored as, its scaling applied once.

    Args:
        path: a file with one of IMAGE_SUFFIXES, or the .img, .BRIK or .REC of a pair.
        channels: numbers per voxel. 1 takes (X, Y, Z) and trailing axes of length 1; C > 1 takes
            (X, Y, Z, C), (X, Y, Z, 1, C), or C components per voxel.
        non_finite: NaN and infinity are an "error", or "replace" puts the lowest finite value there
            and notes it, "zero" puts 0.
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

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "ct.nii.gz"
        >>> voxels = np.full((4, 5, 6), -1000, dtype=np.int16)
        >>> nib.save(nib.Nifti1Image(voxels, np.diag([-0.8, -0.8, 2.5, 1])), path)
        >>> image = read_image(path, keep_integers=True)
        >>> image.array.dtype.name, image.grid.shape, image.grid.orientation, image.notes
        ('int16', (4, 5, 6), 'LPS', ())
    """
    path = Path(path)
    with _named(path):
        raw = _read(path)
        stored = channels_first(raw.stored, channels)
        whole = as_integers(stored, raw.slope, raw.inter) if keep_integers else None
        if whole is not None:
            return Image(whole, Grid(_shape3(whole), raw.affine), path, raw.header, raw.notes)
        with np.errstate(over="ignore", invalid="ignore"):
            array = stored.astype(np.float32, order="K", copy=False)
            if raw.slope != 1.0:
                array *= np.float32(raw.slope)
            if raw.inter != 0.0:
                array += np.float32(raw.inter)
        notes = raw.notes + settle_non_finite(array, non_finite)
        return Image(array, Grid(_shape3(array), raw.affine), path, raw.header, notes)


def read_labels(path: str | Path, *, lowest: int = 0) -> Image:
    """Read a label map as the smallest integer type that holds its values, unsigned if it can be.

    Whole numbers stored as floating point, or through slope and intercept, are fine.

    Args:
        path: as for `read_image`, one number per voxel.
        lowest: negative values from here on are allowed.

    Returns:
        Image, array (X, Y, Z), uint8, uint16 or wider; int8 or wider with negative values.

    Raises:
        ImageError: as `read_image`; and when a value is a fraction, too low, NaN or infinite.

    Example:
        >>> read_labels("labels.nii.gz").array.max()  # doctest: +SKIP
        14
    """
    path = Path(path)
    with _named(path):
        raw = _read(path)
        stored = channels_first(raw.stored, 1)
        if stored.dtype.kind == "f" or raw.slope != 1.0 or raw.inter != 0.0:
            stored = whole_numbers(stored.astype(np.float64) * raw.slope + raw.inter)
        array = label_values(stored, lowest=lowest)
        return Image(array, Grid(_shape3(array), raw.affine), path, raw.header, raw.notes)


def label_values(stored: NDArray[np.generic], *, lowest: int = 0) -> NDArray[np.generic]:
    """Whole numbers as a copy of the smallest integer type that holds them, see `read_labels`.

    Raises:
        ImageError: a value is too low.
    """
    least, highest = int(stored.min()), max(int(stored.max()), 0)
    if least < min(lowest, 0):
        count = int(np.less(stored, min(lowest, 0)).sum())
        raise ImageError(
            f"it holds the negative value {least} ({count} of {stored.size} voxels are "
            "negative), so it is not a label map; if the value means something, say what it "
            f'counts as: --merge_labels "{{{least}: background}}"'
        )
    dtype = smallest_unsigned(highest)
    if least < 0:
        dtype = np.promote_types(np.min_scalar_type(least), np.min_scalar_type(-highest - 1))
    return np.array(stored, dtype=dtype, order="K")


def read_axes(path: str | Path) -> tuple[int, ...]:
    """The lengths of a file's axes, from its header alone: (X, Y, Z), or with axes of channels.

    Raises:
        ImageError: missing, not readable, or not an image.
    """
    path = Path(path)
    with _named(path):
        return tuple(int(size) for size in _read_header(path)[0])


def read_grid(path: str | Path) -> Grid:
    """The grid of a file, from its header alone.

    Raises:
        ImageError: missing, not readable, not an image, fewer than three axes, no usable geometry.
    """
    path = Path(path)
    with _named(path):
        sizes, affine = _read_header(path)
        if len(sizes) < 3:
            raise ImageError(f"it has the axes {sizes}, a volume has three")
        return Grid((int(sizes[0]), int(sizes[1]), int(sizes[2])), affine)


_Header = tuple[tuple[int, ...], Affine, tuple[str, ...]]
_Scaled = tuple[NDArray[np.generic], Affine, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class _Raw:
    stored: NDArray[np.generic]
    affine: Affine
    header: nib.Nifti1Header | None = None
    slope: float = 1.0
    inter: float = 0.0
    notes: tuple[str, ...] = ()


def _read(path: Path) -> _Raw:
    kind = _kind(path)
    if kind in _READERS:
        stored, affine, notes = _READERS[kind][1](path)
        return _Raw(stored, affine, notes=notes)
    if kind == "analyze":
        stored, slope, inter, affine, notes = read_analyze_voxels(path)
        return _Raw(stored, affine, None, slope, inter, notes)
    voxels = read_voxels(path)
    why = voxels.choice.why
    return _Raw(
        voxels.stored,
        voxels.choice.affine,
        voxels.header,
        voxels.slope,
        voxels.inter,
        ((why,) if why else ()) + voxels.notes,
    )


def _read_header(path: Path) -> tuple[tuple[int, ...], Affine]:
    kind = _kind(path)
    if kind == "nifti":
        header = read_header(path)
        return tuple(header.get_data_shape()), choose_affine(header).affine
    read = read_analyze_header if kind == "analyze" else _READERS[kind][0]
    shape, affine, _ = read(path)
    return shape, affine


# Per kind of file what reads its header, and what its voxels with their scaling applied.
_READERS: dict[str, tuple[Callable[[Path], _Header], Callable[[Path], _Scaled]]] = {
    "itk": (read_itk_header, read_itk_voxels),
    "freesurfer": (read_mgh_header, read_mgh_voxels),
    "minc": (read_minc_header, read_minc_voxels),
    "pair": (read_pair_header, read_pair_voxels),
}


def _kind(path: Path) -> Literal["nifti", "analyze", "freesurfer", "minc", "pair", "itk"]:
    # Opened here because ITK has no words for it, and so that every format gives one answer.
    with opened(path) as stream:
        empty = not stream.read(1)
    name = path.name.lower()
    if not name.endswith(IMAGE_SUFFIXES + VOXEL_SUFFIXES):
        raise ImageError(
            f"its suffix is none of {', '.join(IMAGE_SUFFIXES)}; convert it to one of them"
        )
    if empty:
        raise ImageError("the file is empty (zero bytes); copy or convert it again")
    if name.endswith(NIFTI_SUFFIXES):
        return "nifti"
    if name.endswith(AFNI_SUFFIXES + PHILIPS_SUFFIXES):
        return "pair"
    if name.endswith(MINC_SUFFIXES):
        return "minc"
    if name.endswith(HEADER_SUFFIXES + IMG_SUFFIXES):
        return "nifti" if is_nifti_pair(path) else "analyze"
    return "freesurfer" if name.endswith(FREESURFER_SUFFIXES) else "itk"


def _shape3(array: NDArray[np.generic]) -> tuple[int, int, int]:
    x, y, z = array.shape[-3:]
    return x, y, z


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
