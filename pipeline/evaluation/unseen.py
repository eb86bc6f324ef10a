"""Before an evaluation: its validation cases are not those that the weights were trained on."""

from collections.abc import Sequence
from pathlib import Path

from ...data.datasets.parts import Part, dataset_cases
from ..models.checkpoints import training_folder
from ..training.folder.run_folder import check_unseen


def check_unseen_cases(
    checkpoint: str | Path | Sequence[str | Path] | None,
    dataset_dir: str | Path,
    *,
    part: Part = "validation",
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    splits: str | Path | None = None,
) -> None:
    """Refuse an evaluation of validation cases that a checkpoint was trained on.

    Args:
        checkpoint: one, or several of an ensemble; None is not looked at. What a checkpoint was
            trained on is known where it lies in a training's output folder.
        dataset_dir: the dataset folder.
        part: only "validation" is looked at; who asks for "train" or "all" knows.
        fold: 0-based.
        folds: how many there are.
        split_seed: of the split.
        splits: a file of folds.

    Raises:
        ConfigError: there are such cases; the text tells the fold to evaluate.
    """
    if checkpoint is None or part != "validation":
        return
    items = dataset_cases(
        dataset_dir, part=part, fold=fold, folds=folds, split_seed=split_seed, splits=splits
    )
    cases = [str(item["id"]) for item in items]
    for path in [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint:
        check_unseen(training_folder(path), cases)
