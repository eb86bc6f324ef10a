"""The cases of one part of a dataset, as MONAI's datasets take them."""

from pathlib import Path
from typing import Any, Literal

from ..errors import ConfigError
from .dataset import Dataset, DatasetCase, load_dataset
from .folds import load_or_make_splits, select_fold, splits_file

Part = Literal["train", "validation", "all", "test"]


def dataset_cases(
    dataset_dir: str | Path | None,
    *,
    part: Part = "validation",
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    splits: str | Path | None = None,
    most: int | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> list[dict[str, Any]]:
    """Items {"id", "image", "label"} of one part of a dataset, as MONAI's datasets take them.

    A folder that is not there gives no items, so that a bundle's config can be looked at without
    data; `check_dataset` refuses it when the run starts.

    Args:
        dataset_dir: the dataset folder; None gives no items.
        part: "train" or "validation" of the fold, "all" labelled cases, or the unlabelled "test"
            cases.
        fold: 0-based, of `folds`.
        folds: how many there are; of 1 all labelled cases train, and none validates.
        split_seed: of the split.
        splits: a file of folds, see `load_or_make_splits`; `folds` and `split_seed` do not count
            then.
        most: so many of them at most, evenly chosen in their order; None: all.
        rank: which process this is, of a run on several GPUs.
        world_size: how many processes there are; each gets every world_size-th case from its
            rank-th on.

    Returns:
        "image" is a path, or a list of paths, one per channel; "label" a path. Of a case that is
        not wholly annotated, "unannotated" lists the labels that are not.

    Raises:
        ConfigError: no such part; `most` is below 1; `splits` beside `folds` 1.
        DatasetError: the dataset is not sound, or the fold is out of range.
    """
    if dataset_dir is None or not Path(dataset_dir).is_dir():
        return []
    dataset = load_dataset(dataset_dir)
    cases = _cases_of(
        dataset, part=part, fold=fold, folds=folds, split_seed=split_seed, splits=splits
    )
    if most is not None:
        cases = _evenly(cases, most)
    # too few for all processes: each takes them all, which leaves the mean over processes as it is
    share = cases[rank::world_size] if len(cases) >= world_size else cases
    return [_item(case, dataset) for case in share]


def _evenly(cases: tuple[DatasetCase, ...], most: int) -> tuple[DatasetCase, ...]:
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise ConfigError(f"validation_cases {most}: 1 or more are wanted, or null for all")
    count = min(most, len(cases))
    return tuple(cases[index * len(cases) // count] for index in range(count))


def part_cases(
    dataset_dir: str | Path,
    *,
    part: Part,
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    splits: str | Path | None = None,
) -> tuple[DatasetCase, ...]:
    """The cases of one part of a dataset; see `dataset_cases`.

    Raises:
        ConfigError: no such part; `splits` beside `folds` 1.
        DatasetError: the dataset is not sound, or the fold is out of range.
    """
    return _cases_of(
        load_dataset(dataset_dir),
        part=part,
        fold=fold,
        folds=folds,
        split_seed=split_seed,
        splits=splits,
    )


def _cases_of(
    dataset: Dataset,
    *,
    part: Part,
    fold: int,
    folds: int,
    split_seed: int,
    splits: str | Path | None,
) -> tuple[DatasetCase, ...]:
    if part in ("train", "validation"):
        found = load_or_make_splits(dataset, folds=folds, seed=split_seed, splits=splits)
        source = splits_file(dataset, splits, folds=folds)
        train, validation = select_fold(dataset, found, fold, source=source)
        return tuple(train if part == "train" else validation)
    if part in ("all", "test"):
        return dataset.cases if part == "all" else dataset.test_cases
    raise ConfigError(f"part {part!r} is not known: use train, validation, all or test")


def _item(case: DatasetCase, dataset: Dataset) -> dict[str, Any]:
    images = [str(path) for path in case.images]
    item: dict[str, Any] = {"id": case.id, "image": images[0] if len(images) == 1 else images}
    if case.label is not None:
        item["label"] = str(case.label)
        if unannotated := dataset.unannotated(case):
            item["unannotated"] = list(unannotated)
    return item
