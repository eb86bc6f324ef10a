"""Patterns of a user's: `img/* CT.nii.gz`, where what the star stands for is the case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from ....dicom.listing.headers import is_dicom
from ....errors import ConfigError
from ....images.names import case_id, is_image
from ....walk import walk_files

_FIRST = 132
_LOOKED = 10  # files of a folder that are looked at for DICOM


class Listing:
    """What a folder of the user's holds that may be an image: files, and folders of DICOM.

    Args:
        folder: the source.
        exclude: what is left out, such as the dataset that is written.

    Raises:
        ConfigError: there is no such folder, or a part of it cannot be listed.
    """

    def __init__(self, folder: Path, exclude: Sequence[Path] = ()) -> None:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: there is no such folder; check the path")
        self.folder = folder
        self.files: dict[str, Path] = {}
        for path, error in walk_files(folder, exclude=[one.resolve() for one in exclude]):
            if error is not None:
                raise ConfigError(f"{path}: cannot be listed ({error.strerror})")
            self.files[path.relative_to(folder).as_posix()] = path
        folders = {Path(name).parent for name in self.files}
        self.folders = sorted(
            {str(one.as_posix()) for under in folders for one in (under, *under.parents)} - {"."}
        )

    def images(self) -> dict[str, Path]:
        """Name relative to the folder -> path of each image file; DICOM files stand for folders."""
        found = {name: path for name, path in self.files.items() if is_image(path)}
        for name in self.dicom_folders():
            found[name] = self.folder / name
        return found

    def dicom_folders(self) -> list[str]:
        """The folders that hold DICOM files themselves."""
        first: dict[str, list[Path]] = {}
        for name, path in self.files.items():
            if not is_image(path) and "/" in name:
                first.setdefault(name.rpartition("/")[0], []).append(path)
        return [name for name, files in first.items() if any(map(is_dicom_file, files[:_LOOKED]))]


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as DICOM does."""
    try:
        with open(path, "rb") as stream:
            return is_dicom(stream.read(_FIRST))
    except OSError:
        return False


def match_pattern(listing: Listing, pattern: str) -> dict[str, list[str]]:
    """Case -> names of the files and folders of DICOM that a pattern fits.

    Args:
        pattern: relative to the folder, or absolute in it. `*` stands for the case, and for
            anything but "/"; with several stars the case is all that they stand for, "_" between,
            what is the same only once.
            `**` stands for folders, however deep, and is no part of the case.

    Raises:
        ConfigError: a pattern without a star, or outside the folder.
    """
    text = _relative(pattern, listing.folder)
    if "*" not in text:
        raise ConfigError(
            f"{pattern!r}: has no star; put * where the case stands, as in 'img/*.nii.gz'"
        )
    # one letter may be written in two ways, and macOS writes others than most
    text = unicodedata.normalize("NFC", text)
    expression = re.compile(_expression(text), re.DOTALL)
    dicom = set(listing.dicom_folders()) if not is_image(Path(text)) else set()
    found: dict[str, list[str]] = {}
    for name in (*listing.files, *listing.folders):
        match = expression.fullmatch(unicodedata.normalize("NFC", name))
        if match is None or (name not in listing.files and not _holds_dicom(name, dicom)):
            continue
        stars = list(
            dict.fromkeys(match.groups())
        )  # case/case_ct.nii.gz is one case, not case_case
        star = "_".join(stars)
        if text.endswith("*") and name in listing.files:
            path = listing.files[name]
            if not is_image(path) and not is_dicom_file(path):
                continue
            star = case_id(star) if is_image(path) else star.removesuffix(".dcm")
        found.setdefault(star.strip("/"), []).append(name)
    return found


def first_folder(listing: Listing, pattern: str, path: Path) -> str:
    """The folder that a pattern's first star stands for, where another star comes after it.

    Of `a/*/*/ct.nii` and a/p1/late/ct.nii it is p1.
    """
    parts = _relative(pattern, listing.folder).split("/")
    starred = [number for number, part in enumerate(parts) if "*" in part]
    if len(starred) < 2 or "**" in parts:
        return ""
    return path.relative_to(listing.folder).parts[starred[0]]


def _holds_dicom(name: str, dicom: set[str]) -> bool:
    return name in dicom or any(one.startswith(f"{name}/") for one in dicom)


def _expression(text: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    return "".join(
        {"**/": "(?:.*/)?", "**": ".*", "*": "([^/]*)", "?": "[^/]"}.get(part, re.escape(part))
        for part in parts
    )


def _relative(pattern: str, folder: Path) -> str:
    text = pattern.removeprefix("./")
    if Path(text).is_absolute():
        for base in (folder.absolute(), folder.resolve()):
            if Path(text).is_relative_to(base):
                return Path(text).relative_to(base).as_posix()
        raise ConfigError(f"{pattern!r}: lies outside of {folder}; give patterns inside it")
    if text.split("/")[0] == "..":
        raise ConfigError(f"{pattern!r}: leads out of {folder}; give patterns inside it")
    return text
