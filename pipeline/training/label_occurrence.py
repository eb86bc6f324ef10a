"""Labels that a fold's parts do not hold: they cannot be learnt, or their Dice not measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import distributed as dist

from .windows.cases import CachedCases
from .windows.stored import StoredCases

logger = logging.getLogger(__name__)
_FEW = 3  # training cases; a label in fewer is told

LABEL, INDICES, ANNOTATED = "label", "label_class_indices", "annotated"


@dataclass(frozen=True)
class Occurrence:
    """In how many cases of a part each label occurs.

    Args:
        cases: of the part.
        present: of each label, cases that hold it.
        annotated: of each label, cases in which it is annotated; one where it is not annotated
            counts as holding none.
    """

    cases: int
    present: tuple[int, ...]
    annotated: tuple[int, ...]


@dataclass(frozen=True)
class Hint:
    """What is to be said of a label; `serious` where nothing can be learnt or measured."""

    text: str
    serious: bool


class LabelOccurrence:
    """Warns at the start of labels that occur in no case, or in few, of the fold's parts.

    What the preprocessing left is counted: lists of voxels in training cases, label maps in the
    others. What it found is in the trainer's `state.label_hints`.

    Args:
        labels: names of all labels in order, the background first.
        train_dataset, validation_dataset: CachedCases; others are not looked at. The second may
            have no case.
        fold: of the split, counted from 0.
        regions: labels overlap: label maps hold their bits.
        tells: False on all but the first process of a multi-GPU run; each counts its own cases.
    """

    def __init__(
        self,
        *,
        labels: Sequence[str],
        train_dataset: Any,
        validation_dataset: Any,
        fold: int = 0,
        regions: bool = False,
        tells: bool = True,
    ) -> None:
        self.labels = list(labels[1:])
        self.train_dataset, self.validation_dataset = train_dataset, validation_dataset
        self.fold, self.regions, self.tells = fold, regions, tells

    def attach(self, engine: Engine) -> None:
        """Register on the trainer."""
        engine.add_event_handler(Events.STARTED, self._look)

    def _look(self, engine: Any) -> None:
        hints = []
        held_out = not isinstance(self.validation_dataset, Sized) or len(self.validation_dataset)
        if isinstance(self.train_dataset, CachedCases):
            found = occurrence(self.train_dataset, len(self.labels), regions=self.regions)
            hints += train_hints(found, self.labels, self.fold if held_out else None)
        if isinstance(self.validation_dataset, CachedCases) and held_out:
            found = occurrence(self.validation_dataset, len(self.labels), regions=self.regions)
            hints += validation_hints(_of_all_processes(found), self.labels, self.fold)
        engine.state.label_hints = hints
        if self.tells:
            for hint in hints:
                logger.log(logging.WARNING if hint.serious else logging.INFO, hint.text)


def occurrence(dataset: CachedCases, count: int, *, regions: bool = False) -> Occurrence:
    """In how many of a dataset's cases each of so many labels occurs; the background is none."""
    present, annotated = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    for case in _opened(dataset):
        there = case.get(ANNOTATED)
        known = np.ones(count, dtype=bool) if there is None else np.asarray(there)[1:]
        annotated += known
        present += known & _labels_in(case, count, regions=regions)
    return Occurrence(len(dataset), tuple(present.tolist()), tuple(annotated.tolist()))


def train_hints(found: Occurrence, labels: Sequence[str], fold: int | None) -> list[Hint]:
    """What to say of the labels of the part that is trained on; without a fold, of all cases."""
    part = f"the {found.cases} training cases" + ("" if fold is None else f" of fold {fold}")
    hints = []
    for name, present, annotated in zip(labels, found.present, found.annotated, strict=True):
        if not annotated:
            hints.append(
                Hint(f"{name} is annotated in none of {part}: it cannot be learnt", serious=True)
            )
        elif not present:
            hints.append(
                Hint(f"{name} occurs in none of {part}: it cannot be learnt", serious=True)
            )
        elif present < _FEW <= found.cases:
            text = f"{name} occurs in only {present} of {part}: it will hardly be learnt"
            hints.append(Hint(text, serious=False))
    return hints


def validation_hints(found: Occurrence, labels: Sequence[str], fold: int) -> list[Hint]:
    """What to say of the labels of the part that is validated on."""
    part = f"the {found.cases} validation cases of fold {fold}"
    hints = []
    for name, present, annotated in zip(labels, found.present, found.annotated, strict=True):
        if not present:
            what = "occurs" if annotated else "is annotated"
            text = f"{name} {what} in none of {part}: its Dice cannot be measured here"
            hints.append(Hint(f"{text}; another fold or split may have it", serious=True))
    return hints


def _opened(dataset: CachedCases) -> Iterator[dict[str, Any]]:
    """The cases one after another; of those on disk only what is looked at is read."""
    cases = dataset.load()
    for index in range(len(cases)):
        if isinstance(cases, StoredCases):
            yield cases.opened(index, ("image", LABEL, INDICES))
        else:
            yield cases[index]


def _labels_in(case: dict[str, Any], count: int, *, regions: bool) -> np.ndarray:
    """Whether each label is in a case."""
    if INDICES in case:
        return np.array([len(one) > 0 for one in case[INDICES][1:]])
    labels = np.asarray(torch.as_tensor(case[LABEL][:])).astype(np.int32).ravel()
    labels = labels[labels > 0]
    if regions:
        held = int(np.bitwise_or.reduce(labels)) if len(labels) else 0
        return np.array([held >> bit & 1 == 1 for bit in range(count)])
    found = np.bincount(labels, minlength=count + 1)[1 : count + 1]
    return np.asarray(found > 0)


def _of_all_processes(found: Occurrence) -> Occurrence:
    """Of a multi-GPU run, whose processes validate on different cases."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return found
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, found)
    return Occurrence(
        sum(one.cases for one in parts),
        tuple(map(sum, zip(*(one.present for one in parts), strict=True))),
        tuple(map(sum, zip(*(one.annotated for one in parts), strict=True))),
    )
