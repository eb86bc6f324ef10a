"""A folder or a table of the user's, once it is known which files belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...dicom.series import DicomSeries, find_series
from ...errors import ConfigError, DatasetError, GridgateError
from ...files import settled
from ...images.names import is_image
from ...images.reading import read_axes, read_image
from ...label_tables.reading import is_table
from ...progress import progressed
from ..importing.label_names import NamedLabels, checked_values, name_labels
from ..importing.pairs.pairing import Pair, Pairing
from ..importing.pairs.patterns import is_dicom_file
from ..importing.source import LabelEntries, LabelFile, Masks, Source, SourceCase

_HU = -200  # no other modality than CT has values below


def label_tables_of(pairing: Pairing) -> list[Path]:
    """Tables of labels that lie beside the label maps, or in the folder itself."""
    base = pairing.origin if pairing.origin.is_dir() else pairing.origin.parent
    places = {base, *(pair.label.parent for pair in pairing.pairs if pair.label is not None)}
    return [
        file
        for place in sorted(places)
        if place.is_dir()
        for file in sorted(place.iterdir())
        if file.is_file() and is_table(file)
    ]


def labels_of(
    pairing: Pairing, given: dict[str, int] | None, *, progress: bool = True
) -> tuple[Pairing, NamedLabels]:
    """The pairing with its label files found (a folder with one DICOM SEG), and their labels.

    Args:
        given: name -> value.

    Raises:
        GridgateError: see `name_labels`; no label map but folders without just one DICOM SEG.
    """
    pairs = tuple(
        replace(pair, label=_found(pair.label) if pair.label else None) for pair in pairing.pairs
    )
    pairing = Pairing(pairing.origin, pairs, pairing.unpaired, pairing.options)
    names = list(dict.fromkeys(name for pair in pairs for name in pair.masks))
    if names:
        return pairing, NamedLabels(_values_of_masks(names, given), {}, {})
    every = [pair.label for pair in pairs if pair.label is not None]
    files = [file for file in every if not file.is_dir()]
    if every and not files:
        _label_file(every[0])  # says why
    tables = label_tables_of(pairing)
    return pairing, name_labels(files, given=given, tables=tables, progress=progress)


def folder_source(
    pairing: Pairing,
    labels: NamedLabels,
    *,
    name: str = "",
    channels: Sequence[str] | None = None,
    licence: str = "not stated",
    notes: Sequence[str] = (),
    progress: bool = True,
) -> Source:
    """The source that a pairing is.

    Args:
        pairing, labels: of `labels_of`; all values are named.
        name: of the dataset; by default the folder's.
        channels: names of the image's channels; by default found by looking at the first image.
        licence: of the data.
        notes: what was left out before.
        progress: show how far it is.

    Raises:
        ConfigError: another number of channel names than of channels.
        DatasetError: no image can be read: each is a folder that holds no or several DICOM series;
            see Source.
    """
    pairs = pairing.pairs
    shown = progressed(pairs, len(pairs), "finding images", delay=1, leave=False, shown=progress)
    cases = [_case(pair, labels) for pair in shown]
    cases = _with_patients(cases)
    first, count = _readable(cases)
    found, why = _channels(first, count) if channels is None else (tuple(channels), ())
    if len(found) != count:
        raise ConfigError(
            f"{pairing.origin}: its images have {count} channels, --channel_names names "
            f"{len(found)}"
        )
    entries: LabelEntries = {"background": 0, **labels.labels}
    origin = settled(pairing.origin)
    return Source(
        "folder" if pairing.origin.is_dir() else "table",
        str(origin),
        name or (origin.name if origin.is_dir() else origin.stem),
        tuple(cases),
        entries,
        channels=found,
        licence=licence,
        notes=(*notes, *labels.notes, *why),
    )


def _values_of_masks(names: Sequence[str], given: dict[str, int] | None) -> dict[str, int]:
    if given is None:
        return {name: value for value, name in enumerate(names, start=1)}
    given = checked_values(given)
    missing = [name for name in names if given.get(name, 0) < 1]
    if missing or len({given[name] for name in names}) < len(names):
        raise ConfigError(
            f"--label_names and --masks name other labels ({', '.join(missing or names)}); give "
            "each mask a value of its own from 1 up, or leave --label_names out"
        )
    return {name: given[name] for name in names}


def _annotated(pair: Pair, labels: NamedLabels) -> tuple[str, ...] | None:
    """The labels that a case has masks of; None where it has all, or one label map."""
    if not pair.masks or all(name in pair.masks for name in labels.labels):
        return None
    return tuple(name for name in labels.labels if name in pair.masks)


def _case(pair: Pair, labels: NamedLabels) -> SourceCase:
    try:
        images = tuple(_image(path) for path in pair.images)
        if pair.label is not None:
            _label_file(pair.label)
            if pair.label in labels.broken:
                raise DatasetError(labels.broken[pair.label])
    except DatasetError as error:
        return SourceCase(pair.id, pair.images, broken=str(error))
    notes = tuple(note for one in images if isinstance(one, DicomSeries) for note in one.notes)
    annotated = _annotated(pair, labels)
    if annotated is not None:
        lacks = ", ".join(name for name in labels.labels if name not in annotated)
        notes += (
            f"has no mask of {lacks}, so it counts as not annotated there (dataset.json's "
            '"annotated"); if it is not there, say so by --annotated',
        )
    label = _label(pair, labels)
    return SourceCase(pair.id, images, label, notes, annotated, patient=pair.patient)


def _with_patients(cases: Sequence[SourceCase]) -> list[SourceCase]:
    """With the patients that DICOM tells, each called after the first of their cases.

    A PatientID is nothing to be kept in a dataset. Where all have the same, as after an
    anonymisation, it says nothing.
    """
    told = {case.id: _patient_id(case) for case in cases if not case.patient}
    if len({one for one in told.values() if one}) < 2:
        return list(cases)
    first: dict[str, str] = {}
    for case, patient in told.items():
        if patient:
            first.setdefault(patient, case)
    return [
        case if case.patient else replace(case, patient=first.get(told[case.id], ""))
        for case in cases
    ]


def _patient_id(case: SourceCase) -> str:
    return next((one.patient for one in case.images if isinstance(one, DicomSeries)), "")


def _label(pair: Pair, labels: NamedLabels) -> LabelFile | Masks | None:
    if pair.masks:
        return Masks({labels.labels[name]: file for name, file in pair.masks.items()})
    if pair.label is None:
        return None
    return LabelFile(pair.label, labels.values.get(pair.label))


def _found(path: Path) -> Path:
    """The label file of a path, or the path itself, of which its case will say what is wrong."""
    try:
        return _label_file(path)
    except DatasetError:
        return path


def _label_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    inside = [file for file in sorted(path.rglob("*")) if file.is_file() and is_dicom_file(file)]
    if len(inside) != 1:
        raise DatasetError(
            f"{path}: holds {len(inside)} DICOM files, a label map is one DICOM SEG; give a "
            "pattern that fits the file"
        )
    return inside[0]


def _image(path: Path) -> Path | DicomSeries:
    dicom = path.is_dir() or path.suffix.lower() == ".zip" or is_dicom_file(path)
    if is_image(path) or not dicom:
        return path
    series, passed = find_series(path, modality=None)
    if len(series) != 1:
        told = "; ".join(str(one) for one in series[:4]) or "; ".join(
            f"{one.source}: {one.note}" for one in passed[:2]
        )
        raise DatasetError(
            f"{path}: holds {len(series)} DICOM series, a case is one ({told}); give a pattern or "
            "a folder with one series per case"
        )
    return series[0]


def _readable(cases: Sequence[SourceCase]) -> tuple[SourceCase, int]:
    """The first case that can be read, and how many channels its image has."""
    sound = [case for case in cases if not case.broken]
    if not sound:
        raise DatasetError(cases[0].broken)
    for case in sound:
        try:
            return case, _count(case)
        except GridgateError:
            continue  # making it says what is wrong
    return sound[0], len(sound[0].images)


def _count(case: SourceCase) -> int:
    if len(case.images) > 1 or not isinstance(case.images[0], Path):
        return len(case.images)
    axes = read_axes(case.images[0])
    return axes[-1] if len(axes) > 3 and axes[-1] > 1 else 1


def _channels(case: SourceCase, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The channels' names by looking at a case, and a note of what was guessed."""
    if count > 1:
        names = tuple(f"channel_{index}" for index in range(count))
        return names, (f"the channels are called {', '.join(names)} (see --channel_names)",)
    first = case.images[0]
    if isinstance(first, DicomSeries):
        return (first.modality or "CT",), ()
    if isinstance(first, Path):
        try:
            lowest = float(read_image(first, keep_integers=True).array.min())
        except GridgateError:
            return ("image",), ()
        if lowest < _HU:
            return ("CT",), ()
        return ("image",), (
            f"{first}: its lowest value is {lowest:g}, so it is not taken for a CT in HU; the "
            "channel is called image (say --channel_names '[CT]' or '[MR]')",
        )
    return ("CT",), ()
