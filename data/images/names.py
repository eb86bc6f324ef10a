"""Which files are scans, which belong to another's header, and what their cases are called."""

import re
import zlib
from pathlib import Path

from ..errors import ImageError
from .compression import opened

_PACKED = ("", ".gz", ".bz2")
NIFTI_SUFFIXES = (".nii.gz", ".nii.bz2", ".nii")
HEADER_SUFFIXES = (".hdr.gz", ".hdr.bz2", ".hdr")
"""Headers of NIfTI and Analyze pairs, whose voxels lie beside in .img, .img.gz or .img.bz2."""
IMG_SUFFIXES = (".img.gz", ".img.bz2", ".img")
AFNI_SUFFIXES = (".head", ".brik.gz", ".brik.bz2", ".brik")
PHILIPS_SUFFIXES = (".par", ".rec.gz", ".rec.bz2", ".rec")
VOXEL_SUFFIXES = (*IMG_SUFFIXES, *AFNI_SUFFIXES[1:], *PHILIPS_SUFFIXES[1:])
"""Files that hold the voxels of a header beside them; no images of their own."""
FREESURFER_SUFFIXES = (".mgh.gz", ".mgz", ".mgh")
MINC_SUFFIXES = (".mnc.gz", ".mnc.bz2", ".mnc")
ITK_SUFFIXES = (
    *(".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl.gz", ".gipl"),
    *(".vtk", ".hdf5", ".h5"),
)
IMAGE_SUFFIXES = (
    *NIFTI_SUFFIXES,
    *HEADER_SUFFIXES,
    *ITK_SUFFIXES,
    *FREESURFER_SUFFIXES,
    *MINC_SUFFIXES,
    AFNI_SUFFIXES[0],
    PHILIPS_SUFFIXES[0],
)
"""Suffixes of files that can be read, longer ones first; upper case counts too.

The .img, .BRIK or .REC file of a pair can be given in place of its header.
"""
MASK_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha")
"""Forms that masks are written in, longer ends first."""
_VOXELS_OF = {".hdr": ".img", ".head": ".brik", ".par": ".rec"}
_HEADER_OF = {voxels: header for header, voxels in _VOXELS_OF.items()}
# Suffixes that other things have as well: meshes, tables, arrays; and what an image has near its
# beginning.
_MARKS = {
    ".vtk": re.compile(rb"# vtk DataFile.*DATASET\s+STRUCTURED_POINTS", re.IGNORECASE | re.DOTALL),
    ".hdf5": re.compile(rb"\x89HDF.*ITKImage", re.DOTALL),
    ".h5": re.compile(rb"\x89HDF.*ITKImage", re.DOTALL),
    ".mnc": re.compile(rb"CDF[\1\2]|\x89HDF"),
    ".head": re.compile(rb"\s*type\s*=\s*(string|integer|float)-attribute"),
    ".par": re.compile(rb"\s*#.*DATA DESCRIPTION FILE"),
}
_MARKED = 1 << 16  # bytes in which the mark must stand


def is_image(path: Path) -> bool:
    """Whether a file's name ends as that of an image does; the .img file of a pair is none.

    Where other things have the same suffix (.vtk, .h5, .mnc, .head, .par), its content decides.
    """
    name = path.name.lower()
    if not name.endswith(IMAGE_SUFFIXES):
        return False
    for packing in _PACKED[1:]:
        name = name.removesuffix(packing)
    mark = next((mark for suffix, mark in _MARKS.items() if name.endswith(suffix)), None)
    if mark is None:
        return True
    try:
        with opened(path) as stream:
            return mark.match(stream.read(_MARKED)) is not None
    except (ImageError, OSError, EOFError, zlib.error):
        return True  # reading it will say what is wrong


def case_id(path: str | Path) -> str:
    """A file's name without its image suffix of either case; other names are returned whole.

    >>> case_id("scans/liver_1.NII.gz"), case_id("pair.img"), case_id("notes.txt")
    ('liver_1', 'pair', 'notes.txt')
    """
    name = Path(path).name
    for suffix in IMAGE_SUFFIXES + VOXEL_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def find_images(folder: str | Path) -> list[Path]:
    """The image files of a folder, sorted by name; not those of folders inside, no hidden ones.

    A pair of two files is there once, by its header.

    Raises:
        ImageError: the folder does not exist, is a file, or cannot be listed.
    """
    folder = Path(folder)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ImageError(
            f"{folder}: cannot be listed ({error.strerror}); give a folder of images"
        ) from None
    return [
        entry
        for entry in entries
        if not entry.name.startswith(".") and not entry.is_dir() and is_image(entry)
    ]


def header_of(path: Path) -> Path:
    """The file that holds an image's header: the path itself, but for the voxels of a pair.

    Raises:
        ImageError: a .img, .BRIK or .REC file without its header; without the path.
    """
    suffix = _suffix(path, VOXEL_SUFFIXES)
    if suffix is None:
        return path
    header = _HEADER_OF[_plain(suffix)]
    found = _beside(path, suffix, header)
    if found is None:
        raise ImageError(f"its header {case_id(path)}{_usual(header)} is not beside it; add it")
    return found


def voxels_of(path: Path) -> Path | None:
    """The file of a pair that holds the voxels; None for an image in one file.

    Args:
        path: of any image; for a pair either of its files.

    Raises:
        ImageError: a header without the file of its voxels; without the path.
    """
    if _suffix(path, VOXEL_SUFFIXES) is not None:
        return path
    suffix = _suffix(path, (*HEADER_SUFFIXES, AFNI_SUFFIXES[0], PHILIPS_SUFFIXES[0]))
    if suffix is None:
        return None
    voxels = _VOXELS_OF[_plain(suffix)]
    found = _beside(path, suffix, voxels)
    if found is None:
        name = f"{case_id(path)}{_usual(voxels)}"
        raise ImageError(f"its voxels {name} are not beside it; add the file")
    return found


def _suffix(path: Path, suffixes: tuple[str, ...]) -> str | None:
    return next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), None)


def _plain(suffix: str) -> str:
    """A suffix without that of a compression."""
    return f".{suffix.split('.')[1]}"


def _usual(suffix: str) -> str:
    """A suffix in the letters that its format's programs write."""
    return suffix if suffix in (".hdr", ".img") else suffix.upper()


def _beside(path: Path, own: str, other: str) -> Path | None:
    """The other file of a pair, of the same packing first, and of either case of letters."""
    stem, packing = path.name[: -len(own)], own.removeprefix(_plain(own))
    for packed in sorted(_PACKED, key=lambda one: one != packing):
        for end in (other + packed, other.upper() + packed, (other + packed).upper()):
            if (path.parent / (stem + end)).exists():
                return path.parent / (stem + end)
    return None
