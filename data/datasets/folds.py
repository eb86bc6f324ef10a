"""Cross-validation folds: which cases train and which validate; kept in splits.json.

One fold is all cases, of which none validates. nnU-Net's splits_final.json is read too, of both
its versions: a list with {"train": [ids], "val": [ids]} per fold.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DatasetError
from ..files import write_atomically
from .dataset import Dataset, DatasetCase

_LOG = logging.getLogger("gridgate.datasets")

Split = dict[str, list[str]]
"""One fold: {"train": case ids, "validation": case ids}, both sorted; none may validate."""


FILES = ("splits.json", "splits_final.json")
"""Files of a dataset folder that have its folds."""


def make_folds(
    case_ids: Iterable[str],
    *,
    folds: int = 5,
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
) -> list[Split]:
    """Split cases into folds; each case validates exactly once, all of a patient's in one fold.

    The order is that of a hash of seed and id, so it depends neither on the order of the
    ids nor on the version of any library.

    Args:
        case_ids: unique.
        folds: from 2 up to the number of patients; their sizes differ by one at most where each
            patient has one case.
        seed: another seed, another split.
        patients: case -> patient; each other case is one of its own.

    Raises:
        DatasetError: an id twice, fewer than two folds, or more folds than patients.

    Example:
        >>> found = make_folds("abcd", folds=2, patients={"a": "p", "d": "p"})
        >>> [fold["validation"] for fold in found if "a" in fold["validation"]]
        [['a', 'd']]
    """
    ids = sorted(case_ids)
    twice = sorted({case for case, following in pairwise(ids) if case == following})
    if twice:
        raise DatasetError(f"the case id {twice[0]} is there twice; ids must be unique")
    known = patients or {}
    groups: dict[tuple[bool, str], list[str]] = {}
    for case in ids:  # no patient's name is taken for another case's id
        groups.setdefault((case in known, known.get(case, case)), []).append(case)
    if not 2 <= folds <= len(groups):
        of = f" of {len(groups)} patients" if len(groups) < len(ids) else ""
        raise DatasetError(
            f"{len(ids)} cases{of} cannot be split into {folds} folds; choose 2 to {len(groups)} "
            "(a training takes --folds 1, too: all cases, none held out)"
        )
    ordered = sorted(
        groups, key=lambda key: (hashlib.sha256(f"{seed}:{key[1]}".encode()).digest(), key)
    )
    validation: list[list[str]] = [[] for _ in range(folds)]
    for key in ordered:
        min(validation, key=len).extend(groups[key])  # of equal ones the first
    return [
        {"train": sorted(set(ids) - set(held)), "validation": sorted(held)} for held in validation
    ]


def trains_on_all(folds: Any) -> bool:
    """Whether so many folds are a training on every labelled case, with none held out.

    >>> trains_on_all(1), trains_on_all(5)
    (True, False)
    """
    return type(folds) is int and folds == 1


def load_or_make_splits(
    dataset: Dataset,
    *,
    folds: int = 5,
    seed: int = 0,
    splits: str | Path | None = None,
    path: str | Path | None = None,
) -> list[Split]:
    """The folds of a dataset: those of a file where there is one, else new ones.

    Args:
        dataset: its root may hold splits.json or splits_final.json, ours or nnU-Net's ("train" and
            "val"); then folds and seed do not count.
        folds: how many to make; 1 is all labelled cases to train on and none to validate on,
            whatever file the dataset holds.
        seed: of the split.
        splits: a file to take instead, such as nnU-Net's
            nnUNet_preprocessed/<dataset>/splits_final.json.
        path: where to keep a copy of what is returned; an equal file may be there already.

    Raises:
        ConfigError: `splits` beside `folds` 1.
        DatasetError: a file that is no list of folds, names an unknown case, or has a case in both
            halves of a fold; two files in the dataset that differ; a file at `path` that differs.
        OutputError: `path` cannot be written.
    """
    ids = [case.id for case in dataset.cases]
    source = splits_file(dataset, splits, folds=folds)
    if source is not None:
        found = _read(source, set(ids))
        _warn_of_shared(found, dataset, source)
    elif trains_on_all(folds):
        found = [{"train": sorted(ids), "validation": []}]
    else:
        found = make_folds(ids, folds=folds, seed=seed, patients=dataset.patients)
    if path is not None:
        _keep(Path(path), found, set(ids))
    return found


def _warn_of_shared(splits: Sequence[Split], dataset: Dataset, source: Path) -> None:
    """Say where a file's fold trains on one scan of a patient and validates on another."""
    for number, fold in enumerate(splits):
        trained, held = (
            {dataset.patients[case] for case in fold[half] if case in dataset.patients}
            for half in ("train", "validation")
        )
        if shared := sorted(trained & held):
            _LOG.warning(
                f"{source}: fold {number} trains and validates on scans of the patient {shared[0]} "
                f"({len(shared)} such), so its Dice says too much; remove the file to have new "
                "folds"
            )
            return


def splits_file(
    dataset: Dataset, splits: str | Path | None = None, *, folds: int | None = None
) -> Path | None:
    """The file that has the folds of a dataset; None where there is none.

    Args:
        splits: a file that was asked for.
        folds: how many were asked for; of 1 no file says anything.

    Raises:
        ConfigError: a file was asked for beside `folds` 1.
        DatasetError: that file is not there, or is nnU-Net's old pickle; the dataset holds two
            files that differ.
    """
    if trains_on_all(folds):
        if splits is not None:
            raise ConfigError(
                f"--folds 1 trains on all cases, so --splits {splits} says nothing; leave one of "
                "the two out"
            )
        return None
    if splits is None:
        return _own_file(dataset)
    path = Path(splits)
    if path.suffix == ".pkl":
        raise DatasetError(
            f"{path}: a pickle may run code and is not read; write it as JSON: a list with "
            '{"train": [ids], "val": [ids]} per fold'
        )
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; give --splits FILE, or null")
    return path


def left_out(dataset: Dataset, split: Split) -> list[str]:
    """Ids of the labelled cases that neither train nor validate in a fold."""
    used = {*split["train"], *split["validation"]}
    return [case.id for case in dataset.cases if case.id not in used]


def select_fold(
    dataset: Dataset, splits: Sequence[Split], fold: int, *, source: Path | None = None
) -> tuple[list[DatasetCase], list[DatasetCase]]:
    """The training and the validation cases of one fold.

    Args:
        splits: of `load_or_make_splits`.
        fold: from 0 to len(splits) - 1.
        source: the file that they stand in, for the error's text.

    Returns:
        (train_cases, validation_cases), in the order of the split.

    Raises:
        DatasetError: no such fold, or a case that the dataset does not have.
    """
    if not 0 <= fold < len(splits):
        where = "" if source is None else f"{source}: "
        there = "there is fold 0 alone" if len(splits) == 1 else f"choose 0 to {len(splits) - 1}"
        raise DatasetError(f"{where}there is no fold {fold}; {there}")
    cases = {case.id: case for case in dataset.cases}
    try:
        train, validation = (
            [cases[name] for name in splits[fold][half]] for half in ("train", "validation")
        )
    except KeyError as error:
        raise DatasetError(
            f"fold {fold} asks for {error}, which the dataset {dataset.root} does not have"
        ) from None
    return train, validation


def _own_file(dataset: Dataset) -> Path | None:
    there = [dataset.root / name for name in FILES if (dataset.root / name).exists()]
    if len(there) > 1:
        ids = {case.id for case in dataset.cases}
        if _read(there[0], ids) != _read(there[1], ids):
            raise DatasetError(
                f"{there[0]} and {there[1].name} hold different folds; remove one, or choose it by "
                "--splits FILE"
            )
    return there[0] if there else None


def _keep(path: Path, splits: list[Split], ids: set[str]) -> None:
    if path.exists():
        if _read(path, ids) != splits:
            raise DatasetError(
                f"{path}: holds other folds than this run's; give those it had (--splits {path}), "
                "or another output folder"
            )
        return
    text = json.dumps(splits, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))


def _read(path: Path, ids: set[str]) -> list[Split]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path}: cannot be read as JSON ({error}); correct or remove it"
        ) from None
    if not isinstance(content, list) or not content:
        raise DatasetError(f"{path}: is not a list of folds; correct or remove it")
    return [_fold(entry, number, path, ids) for number, entry in enumerate(content)]


def _fold(entry: Any, number: int, path: Path, ids: set[str]) -> Split:
    halves: list[Any] = []
    if isinstance(entry, dict):
        halves = [entry.get("train"), entry.get("validation", entry.get("val"))]
    if not halves or not all(isinstance(half, list) for half in halves) or not halves[0]:
        raise DatasetError(
            f'{path}: fold {number} has no "train" and "validation" lists of case ids'
        )
    train, validation = ([str(name) for name in half] for half in halves)
    unknown = sorted({*train, *validation} - ids)
    if unknown:
        raise DatasetError(
            f"{path}: fold {number} names the case {unknown[0]} ({len(unknown)} such), which the "
            "dataset does not have"
        )
    shared = sorted(set(train) & set(validation))
    if shared:
        raise DatasetError(
            f"{path}: fold {number} trains and validates on the case {shared[0]}; remove it from "
            "one"
        )
    return {"train": sorted(set(train)), "validation": sorted(set(validation))}
