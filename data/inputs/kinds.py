"""What the files of a folder are, by their names: scans, parts of scans, and others."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ImageError
from ..images.compression import opened
from ..images.formats.nifti_voxels import is_nifti_pair
from ..images.formats.text_headers import detached_files
from ..images.names import HEADER_SUFFIXES, VOXEL_SUFFIXES, case_id, header_of, is_image
from ..images.parts import DETACHED_SUFFIXES
from ..walk import PassedOver

# Files of these are neither scans nor looked into for DICOM, and nobody would miss them.
_OTHERS = re.compile(
    r"\.(avi|bak|bat|bvec|bval|cfg|conf|csv|ctbl|docx?|exe|html|ini|ipynb|js|jsonl?|label|log|m|md|mp4|"
    r"obj|ods|onnx|parquet|pdf|pkl|ply|pptx?|pt|pth|py|sh|stl|svg|toml|tsv|txt|vtp|xlsx?|xml|ya?ml)",
    re.IGNORECASE,
)
_PICTURE = "a picture, not a volume that knows its place; convert its scan to NIfTI"
_ARRAY = "an array without spacing and orientation; save it as NIfTI with its affine"
_VOXELS = "voxels without their header beside them; add the header, or convert the scan to NIfTI"
_FOREIGN = "a format that cannot be read; convert it to NIfTI"
_PACKED = "a compressed file or archive that is not looked into; unpack it"
_NAMED_OTHERWISE = "its name does not end as that of an image does; rename it"
_PICTURES = ("bmp", "gif", "j2k", "jp2", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp")
_ARRAYS = ("h5", "hdf5", "mat", "npy", "npz")
_ARCHIVES = ("7z", "bz2", "gz", "lz4", "lzma", "rar", "tar", "tbz2", "tgz", "txz", "xz", "zst")
_SURE = {
    **dict.fromkeys(_PICTURES, _PICTURE),
    **dict.fromkeys(_ARRAYS, _ARRAY),
    **dict.fromkeys(_ARCHIVES, _PACKED),
    **dict.fromkeys(("raw", "zraw"), _VOXELS),
    "vtk": _FOREIGN,  # a mesh, mostly; an image of this format is found by its content
}
# DICOM files may have these names as well, so they are looked into.
_FORMATS = (
    "brik",
    "czi",
    "ecat",
    "head",
    "lsm",
    "mnc",
    "mrb",
    "mrc",
    "nia",
    "par",
    "pic",
    "rec",
    "v",
)
_PERHAPS = {
    **dict.fromkeys((*_FORMATS, "svs", "vti"), _FOREIGN),
    **dict.fromkeys(("brik", "img", "rec"), _VOXELS),
}
_IMAGE_INSIDE_A_NAME = re.compile(r"\.(nii|nrrd|nhdr|mha|mhd|mgz|mgh)\b", re.IGNORECASE)
_MANY = 20  # files of one kind in one folder, from which on they share a row


def may_be_dicom(path: Path) -> bool:
    """Whether a file is worth a look for DICOM: all are whose suffix says nothing else."""
    suffix = path.suffix.lower().lstrip(".")
    return not (is_image(path) or suffix in _SURE or _OTHERS.fullmatch(path.suffix))


def why_not(path: Path) -> str | None:
    """Why a file that looks like an image, and is not DICOM, is not taken; None for all others.

    >>> why_not(Path("slice.png"))
    'a picture, not a volume that knows its place; convert its scan to NIfTI'
    >>> why_not(Path("scan.nii.gz")) is why_not(Path("notes.txt")) is None
    True
    """
    if is_image(path) or _OTHERS.fullmatch(path.suffix):
        return None
    suffix = path.suffix.lower().lstrip(".")
    inner = Path(path.stem).suffix.lower().lstrip(".")
    if suffix in ("gz", "bz2") and inner in ("img", "raw", "zraw", *_FORMATS):
        return _SURE.get(inner) or _PERHAPS[inner]
    found = _SURE.get(suffix) or _PERHAPS.get(suffix)
    if found is None and _IMAGE_INSIDE_A_NAME.search(path.name):
        return _NAMED_OTHERWISE
    return found


def not_taken(files: Sequence[Path], images: Iterable[Path]) -> list[PassedOver]:
    """A row for each file that looks like an image and is none, nor a part of one.

    More than 20 files of one kind in a folder share a row.

    Args:
        files: those of which `why_not` gives a reason.
        images: the images that were found; what holds their voxels is no image of its own.
    """
    if not files:
        return []
    parts = _parts({file.parent for file in files}, images)
    groups: dict[tuple[Path, str, str], list[Path]] = defaultdict(list)
    for file in files:
        if file not in parts and not has_header(file):
            groups[file.parent, file.suffix.lower(), why_not(file) or ""].append(file)
    rows = []
    for (folder, suffix, reason), group in groups.items():
        if len(group) > _MANY:
            rows.append(PassedOver(f"{folder}/*{suffix}", f"{len(group)} files, each {reason}"))
        else:
            rows += [PassedOver(str(file), reason) for file in group]
    return rows


def why_no_pair(path: Path) -> str | None:
    """Why a .hdr file is not taken for that of a NIfTI or Analyze pair; None for all others."""
    if not path.name.lower().endswith(HEADER_SUFFIXES):
        return None
    try:
        with opened(path) as stream:
            empty = not stream.read(1)
        if not empty:
            is_nifti_pair(path)
    except ImageError as error:
        return str(error)
    except Exception:  # reading it will say what is wrong
        return None
    return None


def _parts(folders: set[Path], images: Iterable[Path]) -> set[Path]:
    """The files that belong to images: detached voxels, and SPM's affine beside an image."""
    parts: set[Path] = set()
    for image in images:
        if image.parent in folders:
            parts.add(image.with_name(f"{case_id(image)}.mat"))
        # Headers are read only where what they name may be among the files.
        below = any(folder.is_relative_to(image.parent.parent) for folder in folders)
        if below and image.name.lower().endswith(DETACHED_SUFFIXES):
            try:
                parts.update(detached_files(image))
            except (ImageError, OSError):
                continue  # reading it will say what is wrong
    return parts


def has_header(file: Path) -> bool:
    """Whether a file holds the voxels of a header that is beside it."""
    if not file.name.lower().endswith(VOXEL_SUFFIXES):
        return False
    try:
        return header_of(file).suffix.lower() not in (".head", ".par") or is_image(header_of(file))
    except ImageError:
        return False
