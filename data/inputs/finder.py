"""The cases of folders, files and lists, before their ids are made unique."""

import os
import stat
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TypeVar

from ..dicom.listing.headers import is_dicom, look_at_file
from ..dicom.listing.types import Damaged
from ..dicom.series import DicomSeries, find_series, series_of_files, unlisted
from ..errors import ImageError
from ..images.compression import opened, why_no_file
from ..images.names import IMAGE_SUFFIXES, IMG_SUFFIXES, case_id, header_of, is_image
from ..walk import PassedOver, walk_files
from .channels import Scan, scans_of
from .kinds import has_header, may_be_dicom, not_taken, why_no_pair, why_not
from .lists import Listed
from .wanted import Wanted, failing, image_case, series_cases

_AnyPath = TypeVar("_AnyPath", bound=PurePath)

LOOKED_FOR = f"{', '.join(IMAGE_SUFFIXES)}, DICOM files of any name, .zip of them"
_STRAY = "it is named like a DICOM file and is none; copy it again"
NONE = f"no image in it; looked for {LOOKED_FOR}"


@dataclass
class Finder:
    """Looks for cases in one input.

    Args:
        recursive, modality, channels, exclude, progress: of `find_cases`.
        passed: is filled with what is passed over.
    """

    recursive: bool
    modality: str | None
    channels: int
    exclude: Sequence[Path]
    progress: bool
    passed: list[PassedOver] = field(default_factory=list)
    # What lies in the folders of single files: DICOM series, and scans by their files.
    beside: dict[Path, list[DicomSeries]] = field(default_factory=dict)
    scans: dict[Path, dict[Path, Scan]] = field(default_factory=dict)

    def folder(self, folder: Path, base: Path) -> list[Wanted]:
        """The cases of a folder, named relative to `base`, in the order of their paths."""
        images: list[Path] = []
        series: list[DicomSeries] = []
        unknown: list[Path] = []
        refused: list[Path] = []
        for file, error in walk_files(
            folder, recursive=self.recursive, exclude=self.exclude, passed=self.passed
        ):
            if error is not None:
                series.append(unlisted(Path(os.path.abspath(file)), error))
            elif is_image(file):
                images.append(file)
            elif file.suffix.lower() == ".zip":
                series += self._zip(file)
            elif may_be_dicom(file):
                unknown.append(file)
            elif why_not(file) is not None:
                refused.append(file)
        for file in _strays(unknown, {image.parent for image in images}):
            unknown.remove(file)
            self.passed.append(PassedOver(str(file), _STRAY))
        found, passed = series_of_files(unknown, modality=self.modality, progress=self.progress)
        known = {file for one in found for file in one.files} | {one.source for one in passed}
        unknown = [file for file in unknown if os.path.abspath(file) not in known]
        refused += [file for file in unknown if _odd(file)]
        self.passed += [*not_taken(refused, images), *passed]
        self.passed += [
            PassedOver(str(file), "no permission to read it; ask for read access")
            for file in unknown
            if not os.access(file, os.R_OK) and os.path.exists(file)
        ]
        wanted = [image_case(scan, base) for scan in self._scans(images)]
        wanted += series_cases(series + found, base)
        return sorted(wanted, key=lambda one: (Path(one.name).parts, one.fallback))

    def file(self, file: Path, base: Path) -> list[Wanted]:
        """The cases of one file, perhaps none."""
        if is_image(file) or file.name.lower().endswith(IMG_SUFFIXES) or has_header(file):
            return [image_case(self._scan_of(file), base)]
        if file.suffix.lower() == ".zip":
            return series_cases(self._zip(file), base)
        file = Path(os.path.abspath(file))
        if file.parent not in self.beside:
            beside = [
                one
                for one, error in walk_files(file.parent, recursive=False)
                if error is None and may_be_dicom(one)
            ]
            self.beside[file.parent], passed = series_of_files(
                beside if file in beside else [*beside, file],
                modality=self.modality,
                progress=self.progress,
            )
            self.passed += passed
        return series_cases(
            [one for one in self.beside[file.parent] if str(file) in one.files], base
        )

    def listed(self, path: Path, lines: Iterable[Listed]) -> list[Wanted]:
        """The cases of a list, in its order; what cannot be used is a case all the same."""
        home = Path(os.path.abspath(path.parent))
        lines = list(lines)
        away = _common_folders([line.path for line in lines if not line.path.is_relative_to(home)])
        wanted: list[Wanted] = []
        seen: set[str] = set()
        lines_seen: set[Path] = set()
        for line in lines:
            base = away.get(line.path.drive, home)
            base = home if line.path.is_relative_to(home) else base
            for one in self._one_of_list(line, base):
                if str(one.image) not in seen:
                    wanted.append(one)
                elif len(one.files) < 2 or line.path in lines_seen:
                    self.passed.append(PassedOver(str(one.image), f"it is listed twice in {path}"))
                seen.add(str(one.image))
            lines_seen.add(line.path)
        return wanted

    def _scans(self, images: Iterable[Path]) -> list[Scan]:
        """The scans of images in any folders; a .hdr that is no pair's is passed over."""
        folders: dict[Path, list[Path]] = {}
        for file in images:
            reason = why_no_pair(file)
            if reason is None:
                folders.setdefault(file.parent, []).append(file)
            else:
                self.passed.append(PassedOver(str(file), reason))
        return [
            scan for files in folders.values() for scan in scans_of(files, channels=self.channels)
        ]

    def _scan_of(self, file: Path) -> Scan:
        """The scan that an image file is or belongs to, named as in its whole folder."""
        try:
            image = header_of(file)
        except ImageError:
            image = file  # reading it says that its header is missing
        folder = file.parent
        if folder not in self.scans:
            beside = [
                one
                for one, error in walk_files(folder, recursive=False)
                if error is None and is_image(one)
            ]
            self.scans[folder] = {
                one: scan for scan in scans_of(beside, channels=self.channels) for one in scan.files
            }
        found = self.scans[folder].get(image)
        return found if found is not None else scans_of([image], channels=1)[0]

    def _one_of_list(self, line: Listed, base: Path) -> list[Wanted]:
        try:
            mode = os.stat(line.path).st_mode
        except (OSError, ValueError):
            mode = 0  # it is not there, as its reading will say
        kind = why_no_file(mode)
        if kind is not None:
            problem = f"{line.path}: it is {kind}, not a file; list files"
            found = series_cases([failing(line.path, problem)], base)
        elif stat.S_ISDIR(mode):
            found = self.folder(line.path, line.path if line.name else base)
        elif mode:
            found = self.file(line.path, base)
        else:
            found = [image_case(Scan(case_id(line.path), (line.path,)), base)]
        if not found:
            problem = f"{line.path}: {why_not(line.path) or NONE}"
            found = series_cases([failing(line.path, problem)], base)
        if line.name is None:
            return found
        if len(found) == 1:
            return [replace(found[0], name=line.name, fallback=line.name)]
        names = [f"{line.name}_{one.name.replace('/', '_')}" for one in found]
        return [
            replace(one, name=name, fallback=name) for name, one in zip(names, found, strict=True)
        ]

    def _zip(self, file: Path) -> list[DicomSeries]:
        file = Path(os.path.abspath(file))
        try:
            series, passed = find_series(file, modality=self.modality)
        except ImageError as error:
            return [DicomSeries("", "", "", file, (), file, problem=str(error))]
        if not series:
            passed = passed or [PassedOver(str(file), "no DICOM image in the zip")]
        self.passed += passed
        return series


def _strays(files: Iterable[Path], folders: set[Path]) -> list[Path]:
    """Files with the name of DICOM that are none, in folders of images without any DICOM.

    Anywhere else they are damaged slices of a scan, which must not be passed over.
    """
    named: dict[Path, list[Path]] = {}
    for file in files:
        if file.parent in folders and file.suffix.lower() in (".dcm", ".dicom", ".ima"):
            named.setdefault(file.parent, []).append(file)
    groups = [group for group in named.values() if all(map(_no_dicom, group))]
    return [file for group in groups for file in group]


def _common_folders(files: Sequence[_AnyPath]) -> dict[str, _AnyPath]:
    """Of each drive the folder that holds all of some files; paths of two have nothing in common.

    >>> from pathlib import PureWindowsPath
    >>> files = [PureWindowsPath(f"{path}.nii") for path in ("C:/a/b/1", "D:/x/3", "C:/a/2")]
    >>> _common_folders(files)
    {'C:': PureWindowsPath('C:/a'), 'D:': PureWindowsPath('D:/x')}
    """
    found: dict[str, _AnyPath] = {}
    for file in files:
        folder = found.setdefault(file.drive, file.parent)
        while not file.is_relative_to(folder):
            folder = folder.parent
        found[file.drive] = folder
    return found


def _no_dicom(file: Path) -> bool:
    """Whether a file holds something, and that is not DICOM."""
    try:
        with opened(file) as stream:
            head = stream.read(132)
    except (ImageError, OSError, EOFError, zlib.error):
        return False
    return bool(head) and not is_dicom(head)


def _odd(file: Path) -> bool:
    """Whether a file has the name of an image that cannot be read, and is not DICOM."""
    if why_not(file) is None:
        return False
    found = look_at_file(file)
    return found is None or (isinstance(found, Damaged) and not found.sure)
