"""The cases of a fit: each is validated once, what they are, and that the bundle saw them all."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from ...data.datasets.dataset import load_dataset
from ...data.datasets.folds import load_or_make_splits, splits_file
from ...data.datasets.parts import Part, part_cases
from ...data.errors import DatasetError
from ...data.output_folder import OutputFolder
from ..training.folder.run_folder import SPLITS
from ..training.folder.run_record import SETTINGS, dataset_contents

logger = logging.getLogger(__name__)

_FOLDS = 5


def usual_folds(dataset: Path) -> int:
    """As many folds as the dataset has of its own, else 5.

    Raises:
        DatasetError: its files of folds cannot be used.
    """
    if not (dataset / "dataset.json").is_file():
        return _FOLDS  # the check says what is wrong
    known = load_dataset(dataset)
    return len(load_or_make_splits(known)) if splits_file(known) is not None else _FOLDS


def validated_cases(dataset: Path, folds: int) -> int:
    """How many cases the folds validate.

    Raises:
        DatasetError: the dataset does not make so many folds, or its own ones validate a case
            twice or, in a fold, none.
    """
    known = len(load_dataset(dataset).cases)
    if known < folds:
        raise DatasetError(
            f"{dataset}: {known} labelled cases do not make {folds} folds; give fewer --folds"
        )
    seen: set[str] = set()
    for fold in range(folds):
        ids = {case.id for case in part_cases(dataset, part="validation", fold=fold, folds=folds)}
        if not ids:
            raise DatasetError(
                f"{dataset}: fold {fold} of its own folds holds no case out; a cross-validation "
                "measures cases in each"
            )
        if seen & ids:
            raise DatasetError(
                f"{dataset}: its own folds validate {min(seen & ids)} in two of the first {folds} "
                "folds; a cross-validation measures each case once"
            )
        seen |= ids
    if len(seen) < known:
        logger.warning(
            f"{dataset}: {known - len(seen)} of {known} cases are validated in none of the first "
            f"{folds} folds that the dataset has itself; they are not measured"
        )
    return len(seen)


def dataset_identity(dataset: Path, folds: int) -> str:
    """12 hexadecimal digits of labels, cases, their files' sizes and what the folds validate."""
    return _digest([dataset_contents(load_dataset(dataset)), _ids(dataset, "validation", folds)])


def training_identity(dataset: Path, folds: int) -> str:
    """12 hexadecimal digits of the cases that each fold trains on: not always all others."""
    return _digest(_ids(dataset, "train", folds))


def _ids(dataset: Path, part: Part, folds: int) -> list[list[str]]:
    return [
        sorted(case.id for case in part_cases(dataset, part=part, fold=fold, folds=folds))
        for fold in range(folds)
    ]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]


def note_seen_cases(output: OutputFolder, dataset: Path) -> None:
    """Write down, as a training does, that every case had part in the bundle's weights."""
    found = load_dataset(dataset)
    split = [{"train": sorted(case.id for case in found.cases), "validation": []}]
    record = {"format": 2, "settings": {"fold": 0}, "dataset": dataset_contents(found)}
    for name, content in ((SPLITS, split), (SETTINGS, record)):
        text = json.dumps(content, indent=1).encode()
        output.write(name, lambda stream, text=text: stream.write(text))  # type: ignore[misc]
