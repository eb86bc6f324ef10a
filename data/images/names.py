"""Which files are scans, and what their cases are called."""

from pathlib import Path

from ..errors import ImageError

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".mha", ".mhd")
"""Suffixes of files that can be read, longer ones first; upper case counts too."""


def case_id(path: str | Path) -> str:
    """A file's name without its image suffix, whatever the suffix's case; other names are returned whole."""
    name = Path(path).name
    for suffix in IMAGE_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def find_images(folder: str | Path) -> list[Path]:
    """The image files of a folder, sorted by name; not those of folders inside it, and no hidden ones.

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
