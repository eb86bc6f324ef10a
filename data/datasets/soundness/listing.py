"""The cases of a dataset folder as far as they can be paired, and what cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DatasetError
from ...images.names import case_id, find_images
from ..annotated import annotated_labels, unannotated_labels
from ..entries import DatasetLabels, channel_names, dataset_labels, read_dataset_json
from ..listed import CaseFiles, mapped_cases, training_list, unlabelled_list
from ..pairing import match_files, scan_tests
from ..patients import patients_of
from .findings import DATASET, Finding

_Read = Callable[[dict[str, Any], Path, Path], list[CaseFiles]]
_WORDS = re.compile(r"(?i)(image|img|scan|ct|label|lbl|seg|mask|gt|truth|segmentation)s?")


@dataclass(frozen=True)
class Listing:
    """A dataset folder as it is listed.

    Args:
        root: the folder.
        content: of its dataset.json.
        labels: name -> value in the label maps, the background included. Of regions each value is
            called after the innermost region that holds it.
        ignore: value of the voxels that count as no label; None where there is none.
        channels: their names.
        cases: id, image files, label file; each labelled.
        tests: the same without label.
        findings: what could not be paired, and an "annotated" that cannot be meant.
        unannotated: case -> the values of the labels that it does not have annotated.
    """

    root: Path
    content: dict[str, Any]
    labels: dict[str, int]
    ignore: int | None
    channels: tuple[str, ...]
    cases: tuple[CaseFiles, ...]
    tests: tuple[CaseFiles, ...]
    findings: tuple[Finding, ...]
    unannotated: Mapping[str, frozenset[int]] = field(default_factory=dict)


def list_cases(dataset_dir: str | Path) -> Listing:
    """Pair what can be paired of a dataset folder; no image is opened.

    Raises:
        DatasetError: no dataset.json, or one without usable labels or channels; a folder that
            cannot be listed.
    """
    root = Path(dataset_dir)
    source = root / "dataset.json"
    content = read_dataset_json(source)
    declared = dataset_labels(content, source)
    channels = channel_names(content, source)
    found: list[Finding] = []
    if "training" in content or "dataset" in content:
        cases, tests = _listed(content, root, source, found)
    else:
        cases, tests = _in_folders(content.get("file_ending"), root, found)
    cases, tests = _once(cases, tests, found)
    announced = content.get("numTraining", len(cases))
    if announced != len(cases):
        text = (
            f"{source}: numTraining is {announced}, but {len(cases)} training cases are there; "
            "files are missing, or the number was not brought up to date"
        )
        found.append(Finding("count-differs", "warning", DATASET, text, {"announced": announced}))
    names = [case[0] for case in (*cases, *tests)]
    unannotated = _unannotated(content, declared, names, source, found)
    try:
        patients_of(content, names, source)
    except DatasetError as error:
        found.append(Finding("patients", "error", DATASET, str(error)))
    return Listing(
        root,
        content,
        _named_values(declared),
        declared.ignore,
        channels,
        tuple(cases),
        tuple(tests),
        tuple(found),
        unannotated,
    )


def _named_values(declared: DatasetLabels) -> dict[str, int]:
    """Name -> value in the label maps; of regions the last that holds a value gives its name.

    >>> regions = {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    >>> _named_values(DatasetLabels({"background": 0, "whole": 1}, None, regions))
    {'background': 0, 'whole': 1, 'core': 2, 'enhancing': 3}
    """
    if declared.regions is None:
        return declared.values
    innermost = {value: name for name, values in declared.regions.items() for value in values}
    named = {"background": 0}
    for value, name in sorted(innermost.items()):
        named[name if name not in named else f"{name} ({value})"] = value
    return named


def _unannotated(
    content: dict[str, Any],
    declared: DatasetLabels,
    cases: Sequence[str],
    source: Path,
    found: list[Finding],
) -> dict[str, frozenset[int]]:
    foreground = [name for name, value in declared.values.items() if value]
    try:
        annotated = annotated_labels(content, foreground, cases, source)
    except DatasetError as error:
        found.append(Finding("annotated", "error", DATASET, str(error)))
        return {}
    values = declared.regions or {name: (declared.values[name],) for name in foreground}
    result = {}
    for case, names in annotated.items():
        told = {value for name in names for value in values[name]}
        missing = unannotated_labels(names, foreground)
        result[case] = frozenset(v for name in missing for v in values[name] if v not in told)
    return result


def _listed(
    content: dict[str, Any], root: Path, source: Path, found: list[Finding]
) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """The cases that dataset.json lists, each on its own, so that one cannot hide the others."""
    cases: list[CaseFiles] = []
    tests: list[CaseFiles] = []
    pieces: list[tuple[_Read, list[CaseFiles], dict[str, Any]]]
    if "training" in content:
        # a "training" that is no list is refused as a whole
        entries = content["training"]
        pieces = [(training_list, cases, {"training": [one]}) for one in _list(entries)]
        pieces += [
            (unlabelled_list, tests, {"test": [one]}) for one in _list(content.get("test", []))
        ]
        pieces += [] if isinstance(entries, list) else [(training_list, cases, content)]
    else:
        mapped = content["dataset"]
        pieces = [(mapped_cases, cases, content)]
        if isinstance(mapped, dict):
            pieces = [(mapped_cases, cases, {"dataset": {key: mapped[key]}}) for key in mapped]
    for read, into, one in pieces:
        try:
            into.extend(read(one, root, source))
        except DatasetError as error:
            found.append(Finding("pair-missing", "error", DATASET, str(error)))
    if "training" in content:
        found += _not_listed(root, source, content, [*cases, *tests])
    else:
        tests = _tests(root, content.get("file_ending"), True, found)
    return cases, tests


def _not_listed(
    root: Path, source: Path, content: dict[str, Any], cases: Iterable[CaseFiles]
) -> list[Finding]:
    """Images of the dataset's folders that dataset.json does not list."""
    used = {path for _, images, _ in cases for path in images}
    entries = json.dumps([content["training"], content.get("test")], ensure_ascii=False)
    named = set(re.findall(r'[^/"\\]+', entries))  # also those of cases that lack a file
    there = [
        path
        for folder in ("imagesTr", "imagesTs")
        if (root / folder).is_dir()
        for path in find_images(root / folder)
        if path not in used and path.name not in named
    ]
    if not there:
        return []
    text = (
        f"{source}: does not list {len(there)} images that are there, such as {there[0]}; they are "
        "not used: list them, or move them away"
    )
    return [Finding("not-listed", "note", DATASET, text, {"files": len(there)})]


def _list(entries: Any) -> list[Any]:
    return entries if isinstance(entries, list) else []


def _in_folders(
    ending: str | None, root: Path, found: list[Finding]
) -> tuple[list[CaseFiles], list[CaseFiles]]:
    images, labels = root / "imagesTr", root / "labelsTr"
    try:
        matched = match_files(images, labels, ending)
    except DatasetError as error:
        found.append(Finding("ending-differs", "error", DATASET, str(error)))
        matched = match_files(images, labels, None)
    cases: list[CaseFiles] = list(matched.pairs)
    unlabelled, without = dict(matched.unlabelled), dict(matched.without_image)
    for name, label_name in _nearly(unlabelled, without):
        files, label = unlabelled.pop(name), without.pop(label_name)
        text = (
            f"{label}: its image is probably {files[0].name}: only the names differ; give both one "
            "name"
        )
        found.append(Finding("names-differ", "error", name, text, {"label": str(label)}))
        cases.append((name, files, label))
    for name, files in unlabelled.items():
        text = f"{files[0]}: has no label map in {labels}; add it, or move the image to imagesTs"
        found.append(Finding("pair-missing", "error", name, text))
    for name, label in without.items():
        text = f"{label}: has no image in {images}; add it"
        found.append(Finding("pair-missing", "error", name, text))
    for whole, channel in matched.twice:
        text = f"{whole}: the case is there a second time as {channel.name}; remove one"
        found.append(Finding("pair-missing", "error", case_id(whole), text))
    return cases, _tests(root, ending, matched.by_channel, found)


def _tests(
    root: Path, ending: str | None, by_channel: bool, found: list[Finding]
) -> list[CaseFiles]:
    try:
        tests = scan_tests(root / "imagesTs", ending, by_channel)
    except DatasetError as error:
        found.append(Finding("names", "error", DATASET, str(error)))
        return []
    return [(name, files, None) for name, files in tests]


def _once(
    cases: Iterable[CaseFiles], tests: Iterable[CaseFiles], found: list[Finding]
) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """The cases sorted by id, each id once."""
    seen: dict[str, CaseFiles] = {}
    for name, files, label in (*cases, *tests):
        if name in seen:
            text = f"{files[0]}: the id {name} is that of {seen[name][1][0]} too; rename one"
            found.append(Finding("id-twice", "error", name, text))
        else:
            seen[name] = (name, files, label)
    ordered = [seen[name] for name in sorted(seen)]
    return [case for case in ordered if case[2]], [case for case in ordered if not case[2]]


def _nearly(images: Iterable[str], labels: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in case, separators, zeros in front, or a word such as "seg".

    >>> _nearly(["liver_1", "Liver_02"], ["liver-2_seg", "spleen_1"])
    [('Liver_02', 'liver-2_seg')]
    """
    by_core: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    for place, names in enumerate((images, labels)):
        for name in names:
            by_core.setdefault(_core(name), ([], []))[place].append(name)
    return sorted(
        (a[0], b[0]) for core, (a, b) in by_core.items() if core and len(a) == len(b) == 1
    )


def _core(name: str) -> tuple[str, ...]:
    words = re.findall(r"[a-zA-Z]+|\d+", name)
    return tuple(word.lower().lstrip("0") or "0" for word in words if not _WORDS.fullmatch(word))
