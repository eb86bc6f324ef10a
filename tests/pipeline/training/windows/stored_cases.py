"""Cases of phantoms in memory and on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from gridgate.data.datasets.parts import dataset_cases
from gridgate.pipeline.training.windows.cases import CachedCases
from gridgate.pipeline.training.windows.crops import WindowDataset
from gridgate.transforms import ClassIndicesd, augmentation, preprocessing

WINDOW = {"mode": "window", "low": -160, "high": 240}
ROI = (24, 40, 16)


def prepare(**options: Any) -> Compose:
    settings = {"spacing": (8, 8, 6), "intensity": WINDOW, "foreground": 0.05, **options}
    return preprocessing(keys=("image", "label"), **settings)


def windows(
    dataset: Path, cache: Path | None, *, fold: int = 0, preparing: Any = None, **options: Any
) -> WindowDataset:
    return WindowDataset(
        dataset_cases(dataset, part="train", folds=3, fold=fold),
        transform=Compose([preparing or prepare(), ClassIndicesd("label", label_count=7)]),
        augmentation=augmentation(roi_size=ROI, label_count=7, **options),
        cache_dir=cache,
    )


def whole(dataset: Path, cache: Path | None, *, part: Any = "train", fold: int = 0) -> CachedCases:
    data = dataset_cases(dataset, part=part, folds=3, fold=fold)
    return CachedCases(data, transform=prepare(), cache_dir=cache)


PREPARE = prepare()  # MONAI notes in a case which objects have made it


def assert_same(one: Any, other: Any, where: str = "case") -> None:
    if isinstance(other, MetaTensor):
        assert isinstance(one, MetaTensor), where
        assert_same(one.as_tensor(), other.as_tensor(), where)
        assert_same(dict(one.meta), dict(other.meta), f"{where}.meta")
        assert_same(one.applied_operations, other.applied_operations, f"{where}.operations")
    elif isinstance(other, torch.Tensor):
        assert one.dtype == other.dtype and one.shape == other.shape, where
        assert one.numpy().tobytes() == other.numpy().tobytes(), where
    elif isinstance(other, dict):
        assert list(one) == list(other), where
        for key in other:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(other, list | tuple):
        assert len(one) == len(other), where
        for n, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{n}]")
    else:
        assert np.array_equal(one, other), where
