"""Before a run: the dataset is there, fits the bundle, and its labels lie on their images."""

import logging
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from .dataset import Dataset, load_dataset
from .folds import left_out, load_or_make_splits, splits_file, trains_on_all
from .parts import Part, part_cases
from .placement import check_placements

logger = logging.getLogger("gridgate.datasets")


def check_dataset(
    dataset_dir: str | Path,
    *,
    channels: int = 1,
    part: Part = "train",
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    splits: str | Path | None = None,
) -> None:
    """Refuse a dataset that a bundle cannot be trained or evaluated on.

    Before a training ("train") it also reads the headers of the fold's images and label maps, of
    its validation cases too: each label map must lie on its image. An evaluation checks that case
    by case.

    Args:
        dataset_dir: the dataset folder.
        channels: of the bundle's images.
        part: see `data.datasets.parts.dataset_cases`, and so for the others.
        fold: 0-based.
        folds: how many there are; of 1 all labelled cases train.
        split_seed: of the split.
        splits: a file of folds.

    Raises:
        ConfigError: a file of folds beside `folds` 1.
        DatasetError: no such folder, no such fold, no case in the part, images of other channels
            than the bundle's, label maps elsewhere than their images.
        ImageError: a header cannot be read.
    """
    if not Path(dataset_dir).is_dir():
        raise DatasetError(
            f"{dataset_dir}: there is no such dataset folder; give --dataset_dir FOLDER with a "
            "dataset.json, imagesTr and labelsTr (make one with: gridgate phantom FOLDER)"
        )
    dataset = load_dataset(dataset_dir)
    if len(dataset.channel_names) != channels:
        raise DatasetError(
            f"{dataset.root}/dataset.json: images of {len(dataset.channel_names)} channels, the "
            f"bundle wants {channels}"
        )
    split: dict[str, Any] = {"fold": fold, "folds": folds}
    split |= {"split_seed": split_seed, "splits": splits}
    cases = part_cases(dataset_dir, part=part, **split)
    if not cases:
        raise DatasetError(f"{dataset.root}: no {part} case in it{_why_none(part)}")
    if part in ("train", "validation"):
        _tell_left_out(dataset, fold, folds, splits)
    if part == "train":
        validation = part_cases(dataset_dir, part="validation", **split)
        if not validation:
            _tell_none_held_out(dataset, len(cases))
        check_placements([*cases, *validation])


def _why_none(part: Part) -> str:
    if part != "validation":
        return ""
    return (
        ": the fold holds none out; take another --fold, or measure cases that were not trained on "
        "by --part all"
    )


def _tell_none_held_out(dataset: Dataset, trained: int) -> None:
    logger.info(
        f"{dataset.root}: {trained} of {len(dataset.cases)} labelled cases are trained on, and "
        "none is held out: no Dice is measured"
    )


def _tell_left_out(dataset: Dataset, fold: int, folds: int, splits: str | Path | None) -> None:
    source = splits_file(dataset, splits, folds=folds)
    if source is None:
        own = splits_file(dataset) if trains_on_all(folds) else None
        if own is not None:
            logger.info(f"{own}: does not count, as --folds 1 trains on all cases")
        return
    names = left_out(dataset, load_or_make_splits(dataset, splits=source)[fold])
    if names:
        logger.warning(
            f"{source}: fold {fold} leaves out {len(names)} of {len(dataset.cases)} cases, such as "
            f"{names[0]}"
        )
