"""An evaluation as the bundle's config runs it: prepare, then evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data.datasets.check import check_dataset
from ...data.datasets.folds import trains_on_all
from ...data.datasets.parts import Part
from ...data.errors import ConfigError
from .evaluate import evaluate
from .unseen import check_unseen_cases

__all__ = ["evaluate", "prepare_evaluation"]


def prepare_evaluation(
    dataset_dir: str | Path,
    *,
    channels: int,
    checkpoint: str | Path | Sequence[str | Path] | None,
    part: Part,
    fold: int,
    folds: int,
    split_seed: int,
    splits: str | Path | None = None,
) -> None:
    """Refuse a dataset that does not fit the bundle, and cases that the weights were trained on.

    Args:
        channels: of the bundle's images.
        checkpoint: one, or several of an ensemble; None for untrained weights.
        part, fold, folds, split_seed, splits: see data.datasets.parts.dataset_cases.

    Raises:
        DatasetError: see check_dataset.
        ConfigError: validation cases that a checkpoint was trained on; one fold, which has none.
    """
    if trains_on_all(folds) and part in ("train", "validation"):
        raise ConfigError(
            "--folds 1 is a training on all cases, which holds none out, so there is nothing to "
            "evaluate. Measure cases that it has not seen, in a dataset of their own, by --part "
            "all; on the cases that were trained on --part all tells how well they are known"
        )
    split: dict[str, Any] = {"fold": fold, "folds": folds, "split_seed": split_seed}
    split |= {"part": part, "splits": splits}
    check_dataset(dataset_dir, channels=channels, **split)
    check_unseen_cases(checkpoint, dataset_dir, **split)
