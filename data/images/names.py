"""Which files are scans, which belong to another's header, and what their cases are called."""

from pathlib import Path

from ..errors import ImageError

_PACKED = ("", ".gz", ".bz2")
NIFTI_SUFFIXES = (".nii.gz", ".nii.bz2", ".nii")
HEADER_SUFFIXES = (".hdr.gz", ".hdr.bz2", ".hdr")
"""Headers of NIfTI and Analyze pairs, whose voxels lie beside in .img, .img.gz or .img.bz2."""
VOXEL_SUFFIXES = (".img.gz", ".img.bz2", ".img")
FREESURFER_SUFFIXES = (".mgh.gz", ".mgz", ".mgh")
ITK_SUFFIXES = (".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl.gz", ".gipl")
IMAGE_SUFFIXES = (*NIFTI_SUFFIXES, *HEADER_SUFFIXES, *ITK_SUFFIXES, *FREESURFER_SUFFIXES)
"""Suffixes of files that can be read, longer ones first; upper case counts too.

The .img file of a pair can be given in place of its .hdr, but is no image of its own.
"""


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

    A .hdr/.img pair is there once, by its header.

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
        if entry.name.lower().endswith(IMAGE_SUFFIXES)
        and not entry.name.startswith(".")
        and not entry.is_dir()
    ]


def header_of(path: Path) -> Path:
    """The file that holds an image's header: the path itself, but for the .img file of a pair.

    Raises:
        ImageError: a .img file without its .hdr; without the path.
    """
    if not path.name.lower().endswith(VOXEL_SUFFIXES):
        return path
    found = _beside(path, VOXEL_SUFFIXES, ".hdr")
    if found is None:
        raise ImageError(f"its header {case_id(path)}.hdr is not beside it; add it")
    return found


def voxels_of(path: Path) -> Path | None:
    """The file of a pair that holds the voxels; None for an image in one file.

    Args:
        path: of any image; for a pair either of its files.

    Raises:
        ImageError: a .hdr file without its .img; without the path.
    """
    name = path.name.lower()
    if name.endswith(VOXEL_SUFFIXES):
        return path
    if not name.endswith(HEADER_SUFFIXES):
        return None
    found = _beside(path, HEADER_SUFFIXES, ".img")
    if found is None:
        raise ImageError(f"its voxels {case_id(path)}.img are not beside it; add the file")
    return found


def _beside(path: Path, own: tuple[str, ...], other: str) -> Path | None:
    """The other file of a pair, of the same packing first, and of either case of letters."""
    suffix = next(end for end in own if path.name.lower().endswith(end))
    stem, packing = path.name[: -len(suffix)], suffix[4:]
    for packed in sorted(_PACKED, key=lambda one: one != packing):
        for end in (other + packed, (other + packed).upper()):
            if (path.parent / (stem + end)).exists():
                return path.parent / (stem + end)
    return None
