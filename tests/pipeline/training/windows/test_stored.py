"""Cases on disk give what cases in memory give, in less memory, to any kind of worker."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandGaussianNoised, Randomizable

from gridgate.data.datasets.cache.arrays import StoredArray
from gridgate.data.datasets.parts import dataset_cases
from gridgate.pipeline.training.windows.cases import CachedCases
from gridgate.pipeline.training.windows.crops import WindowDataset, WindowSampler
from gridgate.pipeline.training.windows.loading import WindowLoader, can_fork
from gridgate.transforms import augmentation

from .stored_cases import PREPARE, ROI, assert_same, prepare, windows


@pytest.fixture(scope="module")
def in_memory(phantom_dataset: Path) -> WindowDataset:
    return windows(phantom_dataset, None, preparing=PREPARE)


@pytest.fixture(scope="module")
def on_disk(phantom_dataset: Path, cache: Path) -> WindowDataset:
    return windows(phantom_dataset, cache, preparing=PREPARE)


def test_whole_cases_are_the_same(in_memory: WindowDataset, on_disk: WindowDataset) -> None:
    assert not in_memory.on_disk
    for kept, stored in zip(in_memory.load(), on_disk.load(), strict=True):
        assert_same(stored, dict(kept))
    assert not in_memory.on_disk and on_disk.on_disk


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"rotation_probability": 1.0, "rotation_degrees": (90, 30, 180)},
        {"scale_probability": 1.0, "scale": (0.3, 2.5)},
        {"rotation_probability": 1.0, "scale_probability": 1.0, "foreground": 1.0},
        {"foreground": 0.0, "mirror_axes": (), "intensity": False},
        {"roi_size": (80, 20, 90), "foreground": 1.0},  # larger than the case
        {"roi_size": (80, 20, 90), "rotation_probability": 1.0},
    ],
    ids=["usual", "turned", "scaled", "both", "cut", "large", "large and turned"],
)
def test_windows_are_the_same_bit_for_bit(
    in_memory: WindowDataset,
    on_disk: WindowDataset,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = augmentation(**{"roi_size": ROI, "label_count": 7, **options})
    for one in (in_memory, on_disk):
        monkeypatch.setattr(one, "augmentation", made)
    for key in range(12):
        assert_same(on_disk[key], in_memory[key], f"window {key}")


def test_a_window_reads_its_box_and_one_index(
    on_disk: WindowDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_disk.load()
    read: list[tuple[int, int]] = []
    original = StoredArray.__getitem__

    def spy(self: StoredArray, box: Any) -> Any:
        found = original(self, box)
        read.append((np.asarray(found).size, self.size))
        return found

    monkeypatch.setattr(StoredArray, "__getitem__", spy)
    made = augmentation(
        roi_size=(8, 8, 8),
        label_count=7,
        foreground=1.0,
        rotation_probability=0.0,
        scale_probability=0.0,
    )
    monkeypatch.setattr(on_disk, "augmentation", made)
    for key in range(6):
        on_disk[key]
    volumes = [size for size, of in read if size > 1]
    assert len(volumes) == 12 and max(volumes) <= 8**3  # image and label
    assert len(read) == 18  # and an index each
    assert min(of for _, of in read) > 8**3


def test_another_augmentation_gets_whole_cases(
    on_disk: WindowDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(Compose):
        def __call__(self, case: Any, **options: Any) -> Any:
            assert isinstance(case["image"], MetaTensor) and len(case["label_class_indices"]) == 7
            assert all(torch.is_tensor(one) for one in case["label_class_indices"])
            return case

    monkeypatch.setattr(on_disk, "augmentation", Other([]))
    assert on_disk[0]["image"].ndim == 4


def test_random_preprocessing_is_drawn_anew(phantom_dataset: Path, cache: Path) -> None:
    noisy = Compose([prepare(), RandGaussianNoised("image", prob=1.0)])
    data = dataset_cases(phantom_dataset, part="validation", folds=3)
    cases = CachedCases(data, transform=noisy, cache_dir=cache)
    plain = CachedCases(data, transform=prepare(), cache_dir=cache)
    assert not torch.equal(cases[0]["image"], cases[0]["image"])
    assert cases[0]["image"].shape == plain[0]["image"].shape
    assert isinstance(noisy.transforms[-1], Randomizable)


METHODS = [
    pytest.param("fork", marks=pytest.mark.skipif(not can_fork(), reason="no fork here")),
    pytest.param("forkserver", marks=pytest.mark.slow),  # a fresh process, as spawn's is
]


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_any_kind_draw_the_same(method: str, on_disk: WindowDataset) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    on_disk.load()
    loader = WindowLoader(
        on_disk,
        sampler=WindowSampler(6),
        batch_size=2,
        num_workers=1,
        multiprocessing_context=method,
    )
    found = [{key: batch[key].clone() for key in batch} for batch in loader]
    loader.close()
    assert loader.num_workers == 1
    alone = WindowLoader(on_disk, sampler=WindowSampler(6), batch_size=2)
    for one, other in zip(found, alone, strict=True):
        assert_same(one, other)


def test_cases_in_memory_are_not_sent_to_workers(
    in_memory: WindowDataset, caplog: pytest.LogCaptureFixture
) -> None:
    loader = WindowLoader(
        in_memory,
        sampler=WindowSampler(2),
        batch_size=1,
        num_workers=2,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )
    assert len(list(loader)) == 2
    assert loader.num_workers == 0 and "cannot share cases in memory" in caplog.text
