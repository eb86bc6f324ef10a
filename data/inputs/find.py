"""What a user can give as input, as cases with ids: a file, folder, list, DICOM, or a zip of it.

A case's id is its file's name without suffix, with the folders in which it lies below the source
("sub/dir/name"); a DICOM series has its folder's name, with its number and description where a
folder or zip holds several. Ids are unique, upper and lower case being one, safe as file names, and
do not depend on what the files hold but for the series' own headers: of files that would have one
id (`a.nii.gz`, `a.nrrd`) each keeps its suffix (`a_nii_gz`). Channels in files of their own
(`case_0000`, `case_0001`, as nnU-Net has them) are one case, see `gridgate.data.inputs.channels`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..ids import safe_id, unique_ids
from ..images.compression import why_no_file
from ..walk import PassedOver
from .finder import NONE, Finder
from .kinds import why_not
from .lists import LIST_SUFFIXES, read_list


@dataclass(frozen=True)
class Inputs:
    """What was found.

    Args:
        cases: items {"id": str, "image": str (a path), list of str (a path per channel) or
            DicomSeries}. An image that cannot be read is a case too; its reading will say why.
        passed_over: what was deliberately not taken, such as localizers, pictures, named pipes.
    """

    cases: list[dict[str, Any]]
    passed_over: list[PassedOver]


def find_cases(
    source: str | Path,
    *,
    recursive: bool = True,
    flat: bool = False,
    modality: str | None = "CT",
    channels: int = 1,
    exclude: Sequence[str | Path] = (),
    progress: bool = True,
) -> Inputs:
    """The cases of a file, a folder, a list of paths, a DICOM series or a zip of DICOM.

    Args:
        source: an image file; a folder of images, DICOM files and zips; a .txt list (a path per
            line, relative to the list's folder; # begins a comment); a .csv list (a column
            image, path or input, perhaps one id or case); one DICOM file, which means its series in
            that folder; a .zip of DICOM.
        recursive: folders in folders as well.
        flat: ids "sub_dir_name" instead of "sub/dir/name".
        modality: DICOM series of others are passed over; None takes all.
        channels: of a scan; more than one groups files by their names.
        exclude: files and folders that are not looked into, such as the output folder. One that
            holds the source does not count.
        progress: a bar on stderr where many files are looked into for DICOM.

    Returns:
        The cases in the order of their paths, and what was passed over.

    Raises:
        ConfigError: there is no such source, it is a pipe or device, no image is in it, the source
            is excluded itself, or a list is malformed.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "a.nii.gz").touch(), (folder / "p.png").touch()
        (None, None)
        >>> found = find_cases(folder)
        >>> found.cases[0]["id"], Path(found.passed_over[0].source).name
        ('a', 'p.png')
    """
    path = Path(source)
    excluded = [Path(one).resolve() for one in exclude]
    _check_source(path, excluded)
    finder = Finder(recursive, modality, channels, excluded, progress)
    if path.is_dir():
        wanted = finder.folder(path, path)
    elif path.suffix.lower() in LIST_SUFFIXES:
        wanted = finder.listed(path, read_list(path))
    else:
        wanted = finder.file(path, path.parent)
    if not wanted:
        why = (why_not(path) if path.is_file() else None) or NONE
        raise ConfigError(f"{source}: {why}{_told(finder.passed)}")
    ids = unique_ids(
        [(safe_id(one.name, flat=flat), safe_id(one.fallback, flat=flat)) for one in wanted]
    )
    cases = [{"id": name, "image": one.image} for name, one in zip(ids, wanted, strict=True)]
    return Inputs(cases, finder.passed)


def _check_source(path: Path, excluded: Sequence[Path]) -> None:
    if not os.path.exists(path):
        raise ConfigError(
            f"{path}: there is no such file or folder; give a folder with CTs, a file or a list"
        )
    kind = why_no_file(os.stat(path).st_mode)
    if kind is not None:
        raise ConfigError(
            f"{path}: this is {kind}, not a file; give a folder with CTs, a file or a list"
        )
    if path.resolve() in excluded:
        raise ConfigError(
            f"{path}: the input is the output folder; give another one for the output"
        )


def _told(passed: Sequence[PassedOver]) -> str:
    if not passed:
        return ""
    return f"; {len(passed)} passed over, such as {passed[0].source}: {passed[0].note}"
