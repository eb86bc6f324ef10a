"""What the values of label maps are called: as given, as the files say, or as tables beside say."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import ConfigError, DatasetError, ImageError
from ...images.reading import read_labels
from ...label_tables.reading import read_caret, read_table
from ...progress import progressed
from ..label_values import count_values
from .segments import names_segments, segments

_LOG = logging.getLogger("gridgate.datasets")
_NAMED = 8  # files or values that a text lists


@dataclass(frozen=True)
class NamedLabels:
    """The labels of a set of label maps.

    Args:
        labels: name -> value, without the background.
        values: file -> what is in it -> value in the dataset; None where they are the same.
        unnamed: values that are in the files and have no name -> in how many files.
        notes: what was decided, in words.
        broken: file that cannot be read -> why.
    """

    labels: dict[str, int]
    values: dict[Path, dict[int, int] | None]
    unnamed: dict[int, int]
    notes: tuple[str, ...] = ()
    broken: Mapping[Path, str] = field(default_factory=dict)


def name_labels(
    files: Sequence[Path],
    *,
    given: Mapping[str, int] | None = None,
    tables: Iterable[Path] = (),
    progress: bool = True,
) -> NamedLabels:
    """What the values of label maps are called, and how each file's become the dataset's.

    Names that a file itself holds (`.seg.nrrd`, DICOM SEG, a NIfTI header extension) win over its
    values: where files differ in the value of a name, values are changed. Names that are given
    win over all: a file's segment of that name gets the given value. A file that cannot be read is
    passed over, as making its case says what is wrong.

    Args:
        files: of the label maps.
        given: name -> value; the value 0 counts a segment as background.
        tables: files that may name values: .ctbl, .label, labels.json, dataset.json.
        progress: show how far the reading is, where values must be looked for.

    Raises:
        ConfigError: given names that are no use: a value twice, a segment that is not named.
        DatasetError: files of which only some hold names, which differ from each other.
        ImageError: no label map can be read.
    """
    files, own, broken = _readable(files)
    found = _named(files, own, given, tables)
    if found is None:
        values, more = _values_in(files, progress=progress)
        return NamedLabels({}, dict.fromkeys(files), values, broken={**broken, **more})
    return replace(found, broken=broken)


def _named(
    files: Sequence[Path],
    own: Mapping[Path, dict[int, str]],
    given: Mapping[str, int] | None,
    tables: Iterable[Path],
) -> NamedLabels | None:
    if given is not None:
        return _by_given(files, own, checked_values(given))
    if own:
        return _by_own(files, own)
    for table in tables:
        if names := read_table(table):
            labels = {name: value for value, name in names.items() if value}
            note = f"label names are those of {table}"
            return NamedLabels(labels, dict.fromkeys(files), {}, (note,))
    return None


def with_names(found: NamedLabels, names: Mapping[int, str]) -> NamedLabels:
    """The same with the values named that were not.

    Raises:
        ConfigError: a name that is empty or there twice.
    """
    labels = dict(found.labels)
    for value, name in sorted(names.items()):
        if not name.strip() or name in labels or name.lower() == "background":
            raise ConfigError(f"the name {name!r} of the value {value} is empty or there already")
        labels[name] = value
    return replace(found, labels=labels, unnamed={})


def numbered(found: NamedLabels) -> NamedLabels:
    """The same with unnamed values called label_1, label_2, ..., and a note of that."""
    names = {value: f"label_{value}" for value in found.unnamed}
    if not names:
        return found
    told = ", ".join(names.values())
    note = f"no label names were given or found; the labels are called {told} (see --label_names)"
    return replace(with_names(found, names), notes=(*found.notes, note))


def own_names(file: Path) -> dict[int, str]:
    """Number -> name of what a label map says itself that it holds; empty where it says nothing.

    Raises:
        ImageError: it cannot be read, or is DICOM of another kind than SEG.
    """
    if names_segments(file):
        return {one.number: one.name for one in segments(file)}
    return {value: name for value, name in read_caret(file).items() if value}


def _readable(
    files: Sequence[Path],
) -> tuple[list[Path], dict[Path, dict[int, str]], dict[Path, str]]:
    """The files that can be read, the names of those that have some, why the others cannot be.

    Raises:
        ImageError: none can.
    """
    found: dict[Path, dict[int, str]] = {}
    broken: dict[Path, ImageError] = {}
    for file in files:
        try:
            found[file] = own_names(file)
        except ImageError as error:
            broken[file] = error
    if broken and not found:
        raise next(iter(broken.values()))
    own = {file: names for file, names in found.items() if names}
    return list(found), own, {file: str(error) for file, error in broken.items()}


def checked_values(given: Mapping[str, int]) -> dict[str, int]:
    """The values of --label_names.

    Raises:
        ConfigError: one is no whole number from 0 up, or there twice; none names a label.
    """
    seen: dict[int, str] = {}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigError(
                f"--label_names: {name!r} has the value {value!r}, not a whole number from 0 up"
            )
        if value and value in seen:
            raise ConfigError(f"--label_names: {name!r} and {seen[value]!r} both have {value}")
        seen[value] = str(name)
    if not any(seen):
        raise ConfigError(
            "--label_names: names no label; write it as --label_names '{liver: 1, spleen: 2}'"
        )
    return {str(name): value for name, value in given.items()}


def _by_given(
    files: Sequence[Path], own: Mapping[Path, dict[int, str]], given: dict[str, int]
) -> NamedLabels:
    by_spelling = {_spelt(name): value for name, value in given.items()}
    values: dict[Path, dict[int, int] | None] = dict.fromkeys(files)
    changed = 0
    for file, names in own.items():
        matched = {number: by_spelling.get(_spelt(name)) for number, name in names.items()}
        if all(value is None for value in matched.values()):
            continue  # such as "Segment_1": the numbers speak
        missing = [names[number] for number, value in matched.items() if value is None]
        if missing:
            raise ConfigError(
                f"--label_names does not name {', '.join(map(repr, missing[:_NAMED]))}, which "
                f"{file} holds; add it, with the value 0 where it is background"
            )
        values[file] = _remap({number: value or 0 for number, value in matched.items()})
        changed += values[file] is not None
    labels = {name: value for name, value in given.items() if value}
    return NamedLabels(labels, values, {}, _changed_note(changed, len(files)))


def _by_own(files: Sequence[Path], own: Mapping[Path, dict[int, str]]) -> NamedLabels:
    spelling: dict[str, str] = {}
    for file, names in own.items():
        twice = [name for name in names.values() if _twice(name, names)]
        if twice:
            raise DatasetError(f"{file}: two segments are called {twice[0]!r}; rename one")
        for name in names.values():
            spelling.setdefault(_spelt(name), name)
    pairs = {(_spelt(name), number) for names in own.values() for number, name in names.items()}
    agree = len(pairs) == len(spelling) == len({number for _, number in pairs})
    without = [file for file in files if file not in own]
    if without and not agree:
        raise DatasetError(
            f"{without[0]}: names no labels ({len(without)} such), and the files that name them "
            f"differ in their values, such as {next(iter(own))}; say what the values are by "
            "--label_names"
        )
    if agree:
        target = {key: number for key, number in sorted(pairs, key=lambda pair: pair[1])}
    else:
        target = {key: value for value, key in enumerate(spelling, start=1)}
    values: dict[Path, dict[int, int] | None] = dict.fromkeys(files)
    for file, names in own.items():
        values[file] = _remap({number: target[_spelt(name)] for number, name in names.items()})
    changed = sum(one is not None for one in values.values())
    labels = {spelling[key]: value for key, value in target.items()}
    notes = _changed_note(changed, len(files)) + _partial_notes(own, spelling)
    return NamedLabels(labels, values, {}, notes)


def _partial_notes(own: Mapping[Path, dict[int, str]], spelling: dict[str, str]) -> tuple[str, ...]:
    """A note of labels that only some files name: were they not there, or not annotated?"""
    named = [{_spelt(name) for name in names.values()} for names in own.values()]
    notes = []
    for key, name in spelling.items():
        without = [file for file, keys in zip(own, named, strict=True) if key not in keys]
        if without:
            notes.append(
                f"{len(without)} of {len(own)} label maps do not name {name!r}, such as "
                f"{without[0]}: it counts as background there; if it was not annotated, say which "
                "labels were by --annotated '{case: [labels]}'"
            )
    return tuple(notes)


def _changed_note(changed: int, of: int) -> tuple[str, ...]:
    if not changed:
        return ()
    return (
        f"label names and values differ from file to file: the names win, and the values of "
        f"{changed} of {of} label maps are changed",
    )


def _remap(numbers: dict[int, int]) -> dict[int, int] | None:
    return None if all(old == new for old, new in numbers.items()) else numbers


def _values_in(files: Sequence[Path], *, progress: bool) -> tuple[dict[int, int], dict[Path, str]]:
    """Value but 0 -> how many files hold it; and why files cannot be read.

    Raises:
        ImageError: none can.
    """
    found: dict[int, int] = {}
    broken: dict[Path, ImageError] = {}
    for file in progressed(
        files, len(files), "looking for label values", delay=1, leave=False, shown=progress
    ):
        try:
            array = read_labels(file).array
        except ImageError as error:
            broken[file] = error
            continue
        for value in count_values(array):
            if value:
                found[int(value)] = found.get(int(value), 0) + 1
    if broken and len(broken) == len(files):
        raise next(iter(broken.values()))
    return dict(sorted(found.items())), {file: str(error) for file, error in broken.items()}


def _twice(name: str, names: Mapping[int, str]) -> bool:
    return sum(_spelt(name) == _spelt(other) for other in names.values()) > 1


def _spelt(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
