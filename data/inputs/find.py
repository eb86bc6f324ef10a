"""What a user can give as input, a file, a folder, a list, DICOM or a zip of it, as cases with ids."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..dicom.series import DicomSeries, find_series, series_of_files, unlisted
from ..errors import ConfigError, ImageError
from ..images.reading import IMAGE_SUFFIXES, case_id
from .ids import safe_id, unique_ids
from .lists import LIST_SUFFIXES, Listed, read_list
from .walk import PassedOver, walk_files

# Not opened to see whether they are DICOM; all others without an image's suffix are.
_KNOWN = re.compile(
    r"\.(7z|avi|bak|bat|bmp|bvec|bval|bz2|cfg|conf|csv|docx?|exe|gif|gz|h5|hdf5|html|ini|ipynb|jpe?g|js|jsonl?|log|m|mat|"
    r"md|mp4|npy|npz|ods|onnx|parquet|pdf|pkl|png|pptx?|pt|pth|py|rar|raw|sh|stl|svg|tar|tgz|tiff?|toml|tsv|txt|vtk|vtp|"
    r"xlsx?|xml|xz|ya?ml|zraw|zst)",
    re.IGNORECASE,
)
LOOKED_FOR = f"{', '.join(IMAGE_SUFFIXES)}, DICOM files of any name, .zip of them"


@dataclass(frozen=True)
class Inputs:
    """What was found.

    Args:
        cases: items {"id": str, "image": str (a path) or DicomSeries}. An image that cannot be read
            is a case too; its reading will say why.
        passed_over: what was deliberately not taken, such as localizers.
    """

    cases: list[dict[str, Any]]
    passed_over: list[PassedOver]


def find_cases(
    source: str | Path,
    *,
    recursive: bool = True,
    flat: bool = False,
    modality: str | None = "CT",
    exclude: Sequence[str | Path] = (),
    progress: bool = True,
) -> Inputs:
    """The cases of a file, a folder, a list of paths, a DICOM series or a zip of DICOM.

    A case's id is its file's name without suffix, with the folders in which it lies below the
    source ("sub/dir/name"); a DICOM series has its folder's name, with its number and description
    where a folder or zip holds several. Ids are unique, upper and lower case being one, safe as
    file names, and do not depend on what the files hold but for the series' own headers: of files
    that would have one id (`a.nii.gz`, `a.nrrd`) each keeps its suffix (`a_nii_gz`).

    Args:
        source: an image file; a folder of images, DICOM files and zips; a .txt list (a path a line,
            relative to the list's folder; # begins a comment); a .csv list (a column image, path or
            input, perhaps one id or case); one DICOM file, which means its series in that folder; a
            .zip of DICOM.
        recursive: folders in folders as well.
        flat: ids "sub_dir_name" instead of "sub/dir/name".
        modality: DICOM series of others are passed over; None takes all.
        exclude: files and folders that are not looked into, such as the output folder. One that
            holds the source does not count.
        progress: a bar on stderr where many files are looked into for DICOM.

    Returns:
        The cases in the order of their paths, and what was passed over.

    Raises:
        ConfigError: there is no such source, no image in it, the source is excluded itself, or a
            list is malformed.
    """
    path = Path(source)
    if not path.exists():
        raise ConfigError(
            f"{source}: there is no such file or folder; give a folder with CTs, a file or a list"
        )
    excluded = [Path(one).resolve() for one in exclude]
    if path.resolve() in excluded:
        raise ConfigError(
            f"{source}: the input is the output folder; give another one for the output"
        )
    finder = _Finder(recursive, modality, excluded, progress)
    if path.is_dir():
        wanted = finder.folder(path, path)
    elif path.suffix.lower() in LIST_SUFFIXES:
        wanted = finder.listed(path, read_list(path))
    else:
        wanted = finder.file(path, path.parent)
    if not wanted:
        raise ConfigError(
            f"{source}: no image in it; looked for {LOOKED_FOR}{_told(finder.passed)}"
        )
    ids = unique_ids(
        [(safe_id(one.name, flat=flat), safe_id(one.fallback, flat=flat)) for one in wanted]
    )
    cases = [{"id": name, "image": one.image} for name, one in zip(ids, wanted, strict=True)]
    return Inputs(cases, finder.passed)


@dataclass(frozen=True)
class _Wanted:
    """A case before ids are made unique: the name it wants, and the one that it gets where others want it too."""

    name: str
    fallback: str
    image: str | DicomSeries


@dataclass
class _Finder:
    recursive: bool
    modality: str | None
    exclude: Sequence[Path]
    progress: bool
    passed: list[PassedOver] = field(default_factory=list)
    beside: dict[Path, list[DicomSeries]] = field(
        default_factory=dict
    )  # of single DICOM files, by folder

    def folder(self, folder: Path, base: Path) -> list[_Wanted]:
        """The cases of a folder, named relative to `base`, in the order of their paths."""
        wanted: list[_Wanted] = []
        series: list[DicomSeries] = []
        unknown: list[Path] = []
        for file, error in walk_files(folder, recursive=self.recursive, exclude=self.exclude):
            if error is not None:
                series.append(unlisted(Path(os.path.abspath(file)), error))
            elif file.name.lower().endswith(IMAGE_SUFFIXES):
                wanted.append(_image(file, base))
            elif file.suffix.lower() == ".zip":
                series += self._zip(file)
            elif not _KNOWN.fullmatch(file.suffix):
                unknown.append(file)
        found, passed = series_of_files(unknown, modality=self.modality, progress=self.progress)
        self.passed += passed
        wanted += _name_series(series + found, base)
        return sorted(wanted, key=lambda one: (Path(one.name).parts, one.fallback))

    def file(self, file: Path, base: Path) -> list[_Wanted]:
        """The cases of one file, perhaps none."""
        if file.name.lower().endswith(IMAGE_SUFFIXES):
            return [_image(file, base)]
        if file.suffix.lower() == ".zip":
            return _name_series(self._zip(file), base)
        file = Path(os.path.abspath(file))
        if file.parent not in self.beside:
            beside = [
                one for one, error in walk_files(file.parent, recursive=False) if error is None
            ]
            self.beside[file.parent], passed = series_of_files(
                beside if file in beside else [*beside, file],
                modality=self.modality,
                progress=self.progress,
            )
            self.passed += passed
        return _name_series(
            [one for one in self.beside[file.parent] if str(file) in one.files], base
        )

    def listed(self, path: Path, lines: Iterable[Listed]) -> list[_Wanted]:
        """The cases of a list, in its order; what is listed and cannot be found or used is a case all the same."""
        home = Path(os.path.abspath(path.parent))
        lines = list(lines)
        outside = [
            os.path.dirname(line.path) for line in lines if not line.path.is_relative_to(home)
        ]
        away = Path(os.path.commonpath(outside)) if outside else home
        wanted: list[_Wanted] = []
        seen: set[str] = set()
        for line in lines:
            base = home if line.path.is_relative_to(home) else away
            for one in self._one_of_list(line, base):
                if str(one.image) in seen:
                    self.passed.append(PassedOver(str(one.image), f"it is listed twice in {path}"))
                    continue
                seen.add(str(one.image))
                wanted.append(one)
        return wanted

    def _one_of_list(self, line: Listed, base: Path) -> list[_Wanted]:
        if line.path.is_dir():
            found = self.folder(line.path, line.path if line.name else base)
        elif line.path.exists():
            found = self.file(line.path, base)
        else:
            found = [_image(line.path, base)]
        if not found:
            problem = f"{line.path}: no image in it; looked for {LOOKED_FOR}"
            found = _name_series([DicomSeries("", "", "", line.path, (), problem=problem)], base)
        if line.name is None:
            return found
        if len(found) == 1:
            return [_Wanted(line.name, line.name, found[0].image)]
        names = [f"{line.name}_{one.name.replace('/', '_')}" for one in found]
        return [_Wanted(name, name, one.image) for name, one in zip(names, found, strict=True)]

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


def _image(file: Path, base: Path) -> _Wanted:
    relative = _relative(file, base)
    folder = f"{relative.rpartition('/')[0]}/" if "/" in relative else ""
    return _Wanted(folder + case_id(file), folder + file.name.replace(".", "_"), str(file))


def _name_series(series: Sequence[DicomSeries], base: Path) -> list[_Wanted]:
    groups: dict[str, list[DicomSeries]] = defaultdict(list)
    for one in series:
        groups[_relative(one.folder, base)].append(one)
    wanted = []
    for place, group in groups.items():
        # A series at the source itself is named after that folder.
        name = place if place != "." else os.path.basename(os.path.abspath(base)) or "series"
        if group[0].archive is not None and name.lower().endswith(".zip"):
            name = name[:-4]
        labels = [_label(one) for one in group]
        for one, label in zip(group, labels, strict=True):
            if len(group) == 1:
                own = name
            elif label and labels.count(label) == 1:
                own = f"{name}_{label}"
            else:
                own = f"{name}_{label}_{one.uid[-8:].replace('.', '_')}".replace("__", "_")
            wanted.append(_Wanted(own, f"{name}_{one.uid or 'series'}", one))
    return wanted


def _label(series: DicomSeries) -> str:
    """Number and description, of letters that need no quotes in a shell."""
    return re.sub(r"[^\w.+-]+", "_", f"{series.number}_{series.description}").strip("._")


def _relative(path: Path, base: Path) -> str:
    return os.path.relpath(path, base).replace(os.sep, "/")


def _told(passed: Sequence[PassedOver]) -> str:
    if not passed:
        return ""
    return f"; {len(passed)} passed over, such as {passed[0].source}: {passed[0].note}"
