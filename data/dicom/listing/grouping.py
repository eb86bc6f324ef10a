"""From the headers of files to series: what belongs together, what is left out, what is no scan."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ...walk import PassedOver
from .scattered import join_scattered
from .types import Damaged, DicomSeries, Found

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
_SHARED = (
    "its SeriesInstanceUID is that of other patients, studies or frames of reference too, in other "
    "folders; each is a series"
)
_PART = "its {} files are a part of the series, the whole of which is in {}"


def group_series(
    found: Sequence[Found],
    damaged: Sequence[Damaged],
    *,
    modality: str | None,
    archive: Path | None = None,
) -> tuple[list[DicomSeries], list[PassedOver]]:
    """Group the headers of files by series, and leave out what is no volume of the modality.

    Objects of a series that are no slices (localizers, captures, objects without pixels) are left
    out with a note. Slices that each have a series of their own are joined, see `scattered`. A
    series has a note when files in its folders are damaged, since they may be slices of it. A
    folder in which all DICOM files are damaged gives a series with a `problem`, so that it is not
    forgotten.
    """
    broken: dict[str, list[Damaged]] = defaultdict(list)
    for file in damaged:
        broken[file.folder].append(file)
    groups: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for one in found:
        groups[(one.uid, one.modality) if one.uid else ("", one.modality, one.folder)].append(one)
    series: list[DicomSeries] = []
    passed: list[PassedOver] = []
    wanted: list[tuple[list[Found], bool, list[str]]] = []
    for part, copied, told in (one for group in groups.values() for one in _parts(group)):
        why = _why_not(part, modality)
        if why:
            passed.append(PassedOver(str(_series(part, archive, copied, [])), why))
            continue
        images, notes = _slices_of(part)
        wanted.append((images, copied, told + notes + _damaged_beside(part, broken)))
    for scattered in join_scattered(wanted):
        series.append(_series(scattered.images, archive, scattered.copied, scattered.notes))
        if scattered.problem:
            series[-1] = _with_problem(series[-1], scattered.problem)
    healthy = {one.folder for one in found}
    for name, files in broken.items():
        problem, more = _only_damaged(name, files, archive, healthy)
        series += problem
        passed += more
    series.sort(
        key=lambda one: (str(one.folder), _as_number(one.number), one.number, one.uid, one.files)
    )
    passed.sort(key=lambda one: (one.source, one.note))
    return series, passed


def _slices_of(part: Sequence[Found]) -> tuple[list[Found], list[str]]:
    """The objects of a series that may be slices of a volume, and notes on the others."""
    kept: list[Found] = []
    left: dict[str, list[Found]] = defaultdict(list)
    usual = Counter(one.place.size for one in part if one.place.position).most_common(1)
    for one in part:
        if one.localizer:
            left["localizer images"].append(one)
        elif not one.pixels:
            left["objects without pixels"].append(one)
        elif one.capture or one.placeless:
            left["images without a place in the patient, such as a dose report,"].append(one)
        elif not (one.place.position or one.enhanced) and usual and _other_size(one, usual[0][0]):
            left["images of another size without a position"].append(one)
        else:
            kept.append(one)
    kept, left["images reformatted from it"] = _without_reformats(kept)
    notes = []
    for what, group in left.items():
        if not group:
            continue
        names = "" if what == "localizer images" else f" ({_names([one.name for one in group])})"
        notes.append(f"{len(group)} {what} of the series were left out{names}")
    return kept, [note.replace(", of the series", ", in the series") for note in notes]


def _without_reformats(images: list[Found]) -> tuple[list[Found], list[Found]]:
    """Original slices of one plane, and images in other planes or sizes that were made from them.

    Where the originals lie in several planes, or others are no derived images, nothing is split.
    """
    planes: dict[tuple[object, ...], list[Found]] = defaultdict(list)
    for one in images:
        planes[(_plane(one), one.place.size)].append(one)
    original = [group for group in planes.values() if not any(one.derived for one in group)]
    others = [group for group in planes.values() if all(one.derived for one in group)]
    if len(original) != 1 or len(original[0]) < 3 or len(original) + len(others) < len(planes):
        return images, []
    return original[0], [one for group in others for one in group]


def _plane(one: Found) -> tuple[object, ...]:
    try:
        return tuple(round(float(text), 2) + 0.0 for text in one.place.orientation)
    except ValueError:
        return one.place.orientation


def _other_size(one: Found, usual: tuple[str, ...]) -> bool:
    """Whether an image is complete and of another size than the slices; a cut-off one has none."""
    return bool(one.place.size) and one.place.size != usual


def _damaged_beside(part: Sequence[Found], broken: dict[str, list[Damaged]]) -> list[str]:
    beside = [file for folder in sorted({one.folder for one in part}) for file in broken[folder]]
    if not beside:
        return []
    names = _names([file.name for file in beside])
    return [f"{len(beside)} files beside it are damaged and may belong to it: {names}"]


def _only_damaged(
    name: str, files: Sequence[Damaged], archive: Path | None, healthy: set[str]
) -> tuple[list[DicomSeries], list[PassedOver]]:
    """What is told of a folder's damaged files: a problem where no other is DICOM, else each."""
    sure = [file for file in files if file.sure]
    if name not in healthy and sure:
        folder = Path(name) if archive is None else archive
        problem = (
            f"{folder}: no DICOM file in it can be read; "
            f"{os.path.basename(sure[0].name)}: {sure[0].reason}"
        )
        return [DicomSeries("", "", "", folder, (), archive, problem=problem)], []
    place = f"{archive}: " if archive is not None else ""
    return [], [
        PassedOver(place + file.name, file.reason)
        for file in files
        if file.sure or name in healthy or archive is not None
    ]


def _series(
    group: Sequence[Found], archive: Path | None, copied: bool, notes: list[str]
) -> DicomSeries:
    first = min(group, key=lambda one: one.name)
    folder = Path(_common_folder(group))
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
        patient=first.place.patient,
    )


def _common_folder(group: Sequence[Found]) -> str:
    folders = {one.folder for one in group}
    return os.path.commonpath(folders) if len(folders) > 1 else folders.pop()


def _with_problem(series: DicomSeries, problem: str) -> DicomSeries:
    return replace(series, problem=f"{series.archive or series.folder}: {problem}")


def _parts(group: Sequence[Found]) -> Iterator[tuple[list[Found], bool, list[str]]]:
    """The series of one UID: files, whether others have that UID too, and notes."""
    patients = _patients(group)
    note = [_SHARED] if len(patients) > 1 else []
    for patient in patients:
        for part, copied, told in _copies(patient):
            yield part, copied or len(patients) > 1, note + told


def _patients(group: Sequence[Found]) -> list[list[Found]]:
    """A series that lies in folders of one patient and frame of reference each: by these.

    Whoever anonymises may give one SeriesInstanceUID to all.
    """
    folders = _by_folder(group)
    whose = {folder: {_whose(one) for one in part} for folder, part in folders.items()}
    if any(len(found) > 1 for found in whose.values()):
        return [list(group)]
    parts: dict[tuple[str, ...], list[Found]] = defaultdict(list)
    for folder, part in folders.items():
        parts[next(iter(whose[folder]))] += part
    places = {_common_folder(part) for part in parts.values()}
    # series are told apart by their folders
    return list(parts.values()) if len(places) == len(parts) else [list(group)]


def _whose(one: Found) -> tuple[str, ...]:
    return one.place.patient, one.place.study, one.place.frame_of_reference


def _copies(group: Sequence[Found]) -> list[tuple[list[Found], bool, list[str]]]:
    """A series may be spread over folders, or be in several as copies: each copy is a series.

    They are copies where a folder has all there is. Folders that have some slices in common are
    parts of one series.
    """
    folders = {
        name: (part, {one.instance for one in part if one.instance})
        for name, part in _by_folder(group).items()
    }
    shared = Counter(instance for _, instances in folders.values() for instance in instances)
    whole = [name for name, (_, instances) in folders.items() if len(instances) == len(shared)]
    if max(shared.values(), default=0) < 2 or not whole:
        return [(list(group), False, [])]
    return [
        (part, True, [] if name in whole else [_PART.format(len(part), whole[0])])
        for name, (part, _) in folders.items()
    ]


def _by_folder(group: Sequence[Found]) -> dict[str, list[Found]]:
    folders: dict[str, list[Found]] = defaultdict(list)
    for one in group:
        folders[one.folder].append(one)
    return folders


def _why_not(group: Sequence[Found], modality: str | None) -> str:
    kind = group[0].modality
    count = "1 file" if len(group) == 1 else f"{len(group)} files"
    if kind in _NOT_SCANS:
        return f"{_NOT_SCANS[kind]} ({kind}), not a scan; {count}"
    if modality is not None and kind != modality.upper():
        return f"its modality is {kind or 'not given'}, not {modality.upper()}; {count}"
    images = [one for one in group if one.pixels]
    if not images:
        return f"it has no pixels; {count}"
    if all(one.localizer for one in images):
        return f"a localizer, not a volume; {count}"
    if all(one.capture or one.localizer for one in images):
        return f"secondary captures without a place in the patient, such as a dose report; {count}"
    if all(one.capture or one.localizer or one.placeless for one in images):
        return (
            "images without a place in the patient (no ImagePositionPatient, "
            "ImageOrientationPatient or PixelSpacing), such as screenshots or a report; "
            f"{count}"
        )
    return ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(os.path.basename(name) for name in names[:3]) + ", ..." * (len(names) > 3)


def _as_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1
