"""The one writer of imported datasets: the Decathlon layout from what a source gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import GridgateError, OutputError
from ...events import emit
from ...output_folder import OutputFolder
from ...progress import Progress
from ..annotated import ANNOTATED
from ..folds import Split
from ..patients import PATIENTS, as_entry
from .conversion import NIFTI, label_suffix, make_image, make_label, recipe_of, suffix_of
from .record import Record, state_of, write_json
from .refusals import refuse_another, refuse_broken, refuse_source_as_output
from .source import LabelFile, Masks, Source, SourceCase

_LOG = logging.getLogger("gridgate.datasets")


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Args:
        folder: the dataset.
        cases, tests: how many labelled and unlabelled cases are in it.
        made: files of cases that this run made; 0 where all were there.
        kept: files of cases that were there already.
        changed: whether anything in the folder is other than before.
        removed: files of an earlier import that the source does not have any more.
        left_out: case -> why it was left out.
    """

    folder: Path
    cases: int
    tests: int
    made: int
    kept: int
    changed: bool
    removed: tuple[str, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class _Piece:
    """One file of the dataset."""

    relative: str
    recipe: dict[str, Any]
    make: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class _Planned:
    """The files of one case, and its entry in dataset.json."""

    case: SourceCase
    pieces: tuple[_Piece, ...]
    entry: dict[str, Any] | str


def write_dataset(
    source: Source,
    folder: str | Path | OutputFolder,
    *,
    copy: bool = False,
    skip_broken: bool = False,
    progress: bool = True,
) -> Imported:
    """Write a source as a dataset folder: imagesTr, labelsTr, imagesTs, dataset.json, import.json.

    A file that can be read where it is becomes a symbolic link, or a copy where the file system
    has no links; any other is converted to NIfTI. A second run makes what is missing or has
    changed, and nothing else; a run that was cut off is gone on with. The source is only read.

    Args:
        source: of one of `gridgate.data.datasets.sources`.
        folder: the dataset folder, or it as the caller holds it already.
        copy: copies in the place of links.
        skip_broken: cases that cannot be read are left out; else they are an error, after all
            others were made.
        progress: show how far it is.

    Raises:
        DatasetError: cases that cannot be read; the folder holds another source's import, or is
            the source itself.
        OutputError: a file that Gridgate did not write is in the way, or the disk is full.

    Example:
        >>> from gridgate.data.datasets.sources.folder import folder_source  # doctest: +SKIP
        >>> write_dataset(source, "my_dataset").cases  # doctest: +SKIP
        24
    """
    held = folder if isinstance(folder, OutputFolder) else OutputFolder(folder)
    refuse_source_as_output(source.origin, held.folder)
    with held as output:
        record = Record(output)
        refuse_another(source.origin, record)
        try:
            plan = list(_planned(source, output, copy=copy))
            made, broken = _make_all(plan, record, progress=progress)
            refuse_broken(broken, source, skip=skip_broken)
            for one in plan:
                if one.case.id in broken:
                    record.forget(piece.relative for piece in one.pieces)
            good = [one for one in plan if one.case.id not in broken]
            changed = _write_head(source, good, output)
        except BaseException:
            record.keep(source)
            raise
        removed = tuple(name for name in record.stale() if output.remove(name))
        changed = record.finish(source) or changed or bool(removed)
    _tell(source, good, removed)
    labelled = sum(one.case.label is not None for one in good)
    kept = sum(len(one.pieces) for one in good) - made
    tests = len(good) - labelled
    done = Imported(held.folder, labelled, tests, made, kept, changed, removed, broken)
    emit("imported", **{**vars(done), "folder": str(held.folder), "removed": list(removed)})
    return done


def _planned(source: Source, output: OutputFolder, *, copy: bool) -> Iterator[_Planned]:
    for case in source.cases:
        yield _plan(case, output, "imagesTr", copy=copy)
    for case in source.tests:
        yield _plan(case, output, "imagesTs", copy=copy)


def _plan(case: SourceCase, output: OutputFolder, images: str, *, copy: bool) -> _Planned:
    if case.broken:
        return _Planned(case, (), "")
    suffixes = [suffix_of(image) for image in case.images]
    if case.label is None and len(set(suffixes)) > 1:
        suffixes = [NIFTI] * len(suffixes)  # dataset.json names such a case by one file
    several = len(case.images) > 1
    names = [
        f"{images}/{case.id}{f'_{channel:04d}' if several else ''}{suffix}"
        for channel, suffix in enumerate(suffixes)
    ]
    pieces = []
    for name, image in zip(names, case.images, strict=True):

        def make(name: str = name, image: Any = image) -> dict[str, Any]:
            return make_image(output, name, image, copy=copy)

        pieces.append(_Piece(name, {"from": _lazy_state(image), "copy": copy}, make))
    if case.label is None:
        return _Planned(case, tuple(pieces), f"{images}/{case.id}{suffixes[0]}")
    label, name = case.label, f"labelsTr/{case.id}{label_suffix(case.label)}"
    recipe = {"from": _label_states(label), "copy": copy, **recipe_of(label)}

    def make_map() -> dict[str, Any]:
        return make_label(output, name, label, image=names[0], copy=copy)

    pieces.append(_Piece(name, recipe, make_map))
    entry = {"image": names if several else names[0], "label": name}
    return _Planned(case, tuple(pieces), entry)


def _label_states(label: LabelFile | Masks) -> Any:
    if isinstance(label, LabelFile):
        return _lazy_state(label.file)
    return [_lazy_state(file) for file in label.files.values()]


def _lazy_state(source: Any) -> dict[str, Any]:
    """The input's state; one that is not there has none, and making it will say so."""
    try:
        return state_of(source)
    except GridgateError:
        return {}


def _make_all(
    plan: list[_Planned], record: Record, *, progress: bool
) -> tuple[int, dict[str, str]]:
    """Make what is missing; how many files were made, and case -> why it could not be."""
    made, broken = 0, {}
    total = sum(len(one.pieces) for one in plan)
    with Progress(total, "importing", unit="files", delay=1, shown=progress) as bar:
        for one in plan:
            if one.case.broken:
                broken[one.case.id] = one.case.broken
                continue
            try:
                made += _make(one, record, bar)
            except OutputError:
                raise  # of the disk that everything is written to, not of this case
            except GridgateError as error:
                broken[one.case.id] = str(error)
    return made, broken


def _make(one: _Planned, record: Record, bar: Progress) -> int:
    made = 0
    for piece in one.pieces:
        if not record.is_made(piece.relative, piece.recipe):
            record.enter(piece.relative, piece.recipe, piece.make())
            made += 1
        bar.advance(note=one.case.id)
    return made


def _write_head(source: Source, plan: list[_Planned], output: OutputFolder) -> bool:
    """Write dataset.json, and the folds that the source has; whether any of them is new."""
    training = [one.entry for one in plan if one.case.label is not None]
    tests = [one.entry for one in plan if one.case.label is None]
    labels = dict(source.labels)
    if 0 not in labels.values():
        labels = {"background": 0, **labels}
    annotated = source.annotated_of([one.case.id for one in plan])
    patients = as_entry({one.case.id: one.case.patient for one in plan if one.case.patient})
    content = {
        "name": source.name,
        "licence": source.licence,
        **source.more,
        "channel_names": {str(index): name for index, name in enumerate(source.channels)},
        "labels": labels,
        **({ANNOTATED: annotated} if annotated else {}),
        **({PATIENTS: patients} if patients else {}),
        "numTraining": len(training),
        "numTest": len(tests),
        "training": training,
        "test": tests,
    }
    changed = write_json(output, "dataset.json", content)
    there = {one.case.id for one in plan}
    for name, splits in source.splits.items():
        kept = _kept_folds(name, splits, there)
        if kept is None:
            changed = output.remove(name) or changed
        else:
            changed = write_json(output, name, kept) or changed
    return changed


def _kept_folds(name: str, splits: Sequence[Split], there: set[str]) -> list[Split] | None:
    """The folds of the cases that are there; None where one would train on none, or all tell none.

    A fold may lose the cases that it validates on, so that the others keep their numbers.
    """
    named = {case for fold in splits for half in fold.values() for case in half}
    lost = sorted(named - there)
    kept = [
        {half: [case for case in fold[half] if case in there] for half in fold} for fold in splits
    ]
    told = f"{name}: {len(lost)} of the {len(named)} cases in its folds are not here"
    told += f", such as {lost[0]}" if lost else ""
    validated = any(fold["validation"] for fold in splits)
    if not all(fold["train"] for fold in kept) or (
        validated and not any(fold["validation"] for fold in kept)
    ):
        _LOG.warning(f"{told}; with the others alone they are no folds, so the file is left out")
        return None
    if lost:
        _LOG.warning(told)
    return kept


def _tell(source: Source, plan: list[_Planned], removed: tuple[str, ...]) -> None:
    for note in source.notes:
        _LOG.warning(note)
    for one in plan:
        for note in one.case.notes:
            _LOG.warning(f"{one.case.id}: {note}")
    if removed:
        _LOG.warning(
            f"{len(removed)} files of the earlier import were removed, since the source does not "
            f"have their cases any more, such as {removed[0]}"
        )
