"""Which DICOM series a folder or a zip holds, from the files' headers alone, whatever the files are called."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..errors import ImageError
from ..inputs.walk import PassedOver, walk_files
from .archive import look_into_archive, unpacked
from .headers import Damaged, Found, look_at_file

_MANY = 500  # files from which on a progress bar is worth its line

# Objects that stand beside images and are none, though some of them hold pixels.
_NOT_SCANS = {
    "AU": "sound",
    "DOC": "a document",
    "KO": "a key object note",
    "PLAN": "a plan",
    "PR": "a presentation state",
    "REG": "a registration",
    "RTDOSE": "a dose grid",
    "RTPLAN": "a treatment plan",
    "RTRECORD": "a treatment record",
    "RTSTRUCT": "contours",
    "RWV": "a real world value map",
    "SEG": "a segmentation",
    "SR": "a report",
}


@dataclass(frozen=True)
class DicomSeries:
    """The image files of one DICOM series; `gridgate.data.dicom.volume.read_series` makes a volume of them.

    str() gives "<folder> (series <uid>)", the same from run to run.

    Args:
        uid: SeriesInstanceUID; "" where the files have none, and all of a folder are taken as one
            series.
        modality: such as "CT".
        description: SeriesDescription, perhaps "".
        folder: the folder that holds all its files, or the zip.
        files: absolute paths, or members' names when `archive` is set; sorted by name.
        archive: the zip, or None.
        number: SeriesNumber as text, perhaps "".
        notes: what was odd when its files were listed.
        problem: why it cannot be read, for a zip or folder that cannot even be listed; reading it
            raises that.
    """

    uid: str
    modality: str
    description: str
    folder: Path
    files: tuple[str, ...]
    archive: Path | None = None
    number: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        if self.problem:
            return str(self.folder)
        return f"{self.folder} (series {self.uid or 'without a UID'})"


def find_series(
    path: str | Path, *, modality: str | None = "CT", progress: bool = False
) -> tuple[list[DicomSeries], list[PassedOver]]:
    """The image series in a folder (recursively), in a zip, or the one that a single file belongs to.

    Files that are not DICOM, DICOMDIR and hidden files are ignored. The order of the result is that
    of the folders, then of the series' numbers.

    Args:
        path: a folder, a .zip, or one DICOM file, which means its series among the files beside it.
        modality: only series of it; None takes every modality that is images.
        progress: a bar on stderr when there are hundreds of files.

    Returns:
        The series, and what was passed over: localizers, other modalities, segmentations, reports
        and others without pixels, damaged files.

    Raises:
        ImageError: there is no such path, it cannot be listed, or the zip is damaged or encrypted.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir():
        files, broken = [], []
        for file, error in walk_files(path):
            if error is not None and file == path:
                raise ImageError(
                    f"{path}: cannot be listed ({error.strerror}); ask for read access"
                )
            if error is not None:
                broken.append(unlisted(file, error))
            else:
                files.append(file)
        series, passed = series_of_files(files, modality=modality, progress=progress)
        return series + broken, passed
    if not path.exists():
        raise ImageError(f"{path}: there is no such file or folder; check the path")
    if path.suffix.lower() == ".zip":
        return group_series(*look_into_archive(path), modality=modality, archive=path)
    beside = [file for file, error in walk_files(path.parent, recursive=False) if error is None]
    if path not in beside:  # a hidden file that was asked for
        beside.append(path)
    series, passed = series_of_files(beside, modality=modality, progress=progress)
    return [one for one in series if str(path) in one.files], passed


def series_of_files(
    files: Iterable[Path], *, modality: str | None = "CT", progress: bool = False
) -> tuple[list[DicomSeries], list[PassedOver]]:
    """As `find_series`, of files that were listed already; files that are not DICOM are ignored."""
    files = [Path(os.path.abspath(file)) for file in files]
    found: list[Found] = []
    damaged: list[Damaged] = []
    hidden = (
        None if progress and len(files) >= _MANY else True
    )  # None: only where stderr is a terminal
    for file in tqdm(files, desc="looking for DICOM", unit="file", disable=hidden, leave=False):
        one = look_at_file(file)
        if isinstance(one, Found):
            found.append(one)
        elif one is not None:
            damaged.append(one)
    return group_series(found, damaged, modality=modality)


def group_series(
    found: Sequence[Found],
    damaged: Sequence[Damaged],
    *,
    modality: str | None,
    archive: Path | None = None,
) -> tuple[list[DicomSeries], list[PassedOver]]:
    """Group the headers of DICOM files by series, and leave out those that are no volume of the modality.

    A series has a note when files in its folders are damaged, since they may be slices of it. A
    folder in which all DICOM files are damaged gives a series with a `problem`, so that it is not
    forgotten.
    """
    broken: dict[str, list[Damaged]] = defaultdict(list)
    for file in damaged:
        broken[file.folder].append(file)
    groups: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for one in found:
        groups[(one.uid, one.modality) if one.uid else ("", one.modality, one.folder)].append(one)
    series, passed = [], []
    for group in groups.values():
        for part, copied in _copies(group):
            whole = _series(part, archive, copied, [])
            why = _why_not(part, modality)
            if why:
                passed.append(PassedOver(str(whole), why))
                continue
            images = [one for one in part if not one.localizer]
            notes = []
            if len(images) < len(part):
                notes.append(
                    f"{len(part) - len(images)} localizer images of the series were left out"
                )
            beside = [
                file for folder in sorted({one.folder for one in part}) for file in broken[folder]
            ]
            if beside:
                names = ", ".join(os.path.basename(file.name) for file in beside[:3]) + ", ..." * (
                    len(beside) > 3
                )
                notes.append(
                    f"{len(beside)} files beside it are damaged and may belong to it: {names}"
                )
            series.append(_series(images, archive, copied, notes))
    healthy = {one.folder for one in found}
    for name, files in broken.items():
        sure = [file for file in files if file.sure]
        if name not in healthy and sure:
            folder = Path(name) if archive is None else archive
            problem = f"{folder}: no DICOM file in it can be read; {os.path.basename(sure[0].name)}: {sure[0].reason}"
            series.append(DicomSeries("", "", "", folder, (), archive, problem=problem))
        else:
            place = f"{archive}: " if archive is not None else ""
            passed += [
                PassedOver(place + file.name, file.reason)
                for file in files
                if file.sure or name in healthy
            ]
    series.sort(
        key=lambda one: (str(one.folder), _as_number(one.number), one.number, one.uid, one.files)
    )
    passed.sort(key=lambda one: (one.source, one.note))
    return series, passed


@contextmanager
def local_files(series: DicomSeries) -> Iterator[list[Path]]:
    """The series' files on the disk, in the order of `series.files`; those of a zip only until the block ends.

    Raises:
        ImageError: the series has a `problem`; or the zip is damaged, or the temporary disk has no
            room.
    """
    if series.problem:
        raise ImageError(series.problem)
    if series.archive is None:
        yield [Path(file) for file in series.files]
        return
    with unpacked(series.archive, series.files) as files:
        yield files


def unlisted(path: Path, error: OSError) -> DicomSeries:
    """A stand-in for what a folder that cannot be listed may hold: reading it fails with the reason."""
    reason = f"{path}: the folder cannot be listed ({error.strerror}), so its scans are missing; ask for read access"
    return DicomSeries("", "", "", path, (), problem=reason)


def _series(
    group: Sequence[Found], archive: Path | None, copied: bool, notes: list[str]
) -> DicomSeries:
    first = min(group, key=lambda one: one.name)
    folder = Path(
        os.path.commonpath([one.folder for one in group]) if len(group) > 1 else first.folder
    )
    if archive is not None:
        folder = archive / folder if copied else archive
    if not first.uid:
        notes = [
            "the files have no SeriesInstanceUID; all in the folder are taken as one series",
            *notes,
        ]
    files = tuple(sorted(one.name for one in group))
    return DicomSeries(
        first.uid,
        first.modality,
        first.description,
        folder,
        files,
        archive,
        first.number,
        tuple(notes),
    )


def _copies(group: Sequence[Found]) -> list[tuple[list[Found], bool]]:
    """One series may be spread over folders, or lie in several folders as copies: then each copy is a series."""
    folders: dict[str, set[str]] = defaultdict(set)
    for one in group:
        if one.instance:
            folders[one.instance].add(one.folder)
    if all(len(places) < 2 for places in folders.values()):
        return [(list(group), False)]
    parts: dict[str, list[Found]] = defaultdict(list)
    for one in group:
        parts[one.folder].append(one)
    return [(part, True) for part in parts.values()]


def _why_not(group: Sequence[Found], modality: str | None) -> str:
    kind = group[0].modality
    count = "1 file" if len(group) == 1 else f"{len(group)} files"
    if kind in _NOT_SCANS:
        return f"{_NOT_SCANS[kind]} ({kind}), not a scan; {count}"
    if modality is not None and kind != modality.upper():
        return f"its modality is {kind or 'not given'}, not {modality.upper()}; {count}"
    if not any(one.pixels for one in group):
        return f"it has no pixels; {count}"
    if all(one.localizer for one in group):
        return f"a localizer, not a volume; {count}"
    if all(one.capture for one in group):
        return f"secondary captures without a place in the patient, such as a dose report; {count}"
    return ""


def _as_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1
