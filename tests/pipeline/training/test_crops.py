"""Training windows depend on the seed and their number alone."""

from pathlib import Path

import pytest
import torch
from monai.transforms import Compose
from torch.utils.data import DataLoader

from gridgate.data.datasets.parts import dataset_cases
from gridgate.data.errors import DatasetError
from gridgate.pipeline.training.windows.crops import WindowDataset, WindowSampler
from gridgate.transforms import ClassIndicesd, augmentation, preprocessing

WINDOW = {"mode": "window", "low": -160, "high": 240}


def make(dataset: Path, *, seed: int = 0) -> WindowDataset:
    transform = Compose(
        [
            preprocessing(keys=("image", "label"), spacing=(12, 12, 12), intensity=WINDOW),
            ClassIndicesd("label", label_count=7),
        ]
    )
    return WindowDataset(
        dataset_cases(dataset, part="train", folds=3),
        transform=transform,
        augmentation=augmentation(roi_size=(16, 16, 16), label_count=7),
        seed=seed,
    )


@pytest.fixture(scope="module")
def windows(phantom_dataset: Path) -> WindowDataset:
    return make(phantom_dataset)


def test_a_window_is_the_same_whatever_was_drawn_before(
    windows: WindowDataset, phantom_dataset: Path
) -> None:
    first = windows[9]
    for key in (3, 0, 21):
        windows[key]
    again, fresh = windows[9], make(phantom_dataset)[9]
    for name in ("image", "label"):
        assert torch.equal(first[name], again[name])
        assert torch.equal(first[name], fresh[name])


def test_keys_and_seeds_give_different_windows(
    windows: WindowDataset, phantom_dataset: Path
) -> None:
    assert not torch.equal(windows[0]["image"], windows[len(windows)]["image"])
    assert not torch.equal(windows[0]["image"], make(phantom_dataset, seed=1)[0]["image"])


def test_worker_processes_change_nothing(windows: WindowDataset) -> None:
    windows.load()
    sampler = WindowSampler(6)
    alone = [batch["image"] for batch in DataLoader(windows, batch_size=2, sampler=sampler)]
    helped = [
        batch["image"]
        for batch in DataLoader(windows, batch_size=2, sampler=sampler, num_workers=2)
    ]
    assert len(alone) == 3
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_processes_share_an_epoch_and_epochs_follow_each_other() -> None:
    parts = [WindowSampler(10, rank=rank, world_size=3) for rank in range(3)]
    assert sorted(key for part in parts for key in part) == list(range(10))
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]
    alone = WindowSampler(10)
    alone.set_epoch(4)
    assert list(alone) == list(range(30, 40))


def test_every_case_once_a_turn(windows: WindowDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    cases = windows.load()
    monkeypatch.setattr(windows, "augmentation", _Nothing())
    monkeypatch.setattr(
        type(windows).__mro__[1], "__getitem__", lambda self, i: asked.append(i) or dict(cases[i])
    )
    count = len(windows)
    for key in range(3 * count):
        windows[key]
    for turn in range(3):
        assert sorted(asked[turn * count : (turn + 1) * count]) == list(range(count))


class _Nothing:
    def set_random_state(self, seed: int) -> None: ...

    def __call__(self, case: dict) -> dict:
        return case


def test_cases_are_preprocessed_once_and_kept(windows: WindowDataset) -> None:
    for kept in windows.load()._cache:
        assert torch.is_tensor(kept["image"]) and "label_class_indices" in kept


def test_no_case_is_an_error_of_ours(windows: WindowDataset) -> None:
    empty = WindowDataset([], transform=windows.transform, augmentation=windows.augmentation)
    with pytest.raises(DatasetError, match="no case"):
        empty.load()
