"""A training that meets a bad case ends with exit code 1, the file's name, and no worker left."""

import json
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, Transform

from gridgate.data.errors import ImageError
from gridgate.pipeline.training.windows import loading
from gridgate.pipeline.training.windows.cases import CachedCases
from gridgate.pipeline.training.windows.crops import WindowDataset, WindowSampler
from gridgate.pipeline.training.windows.loading import WindowLoader, can_fork

from ... import forked
from ..small_bundle import CONFIGS
from .small_trainer import network, trainer

FORKS = pytest.mark.skipif(not can_fork(), reason="no worker processes on this system")
LABELS = ("background", "liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta")


def write_dataset(root: Path, bad: str) -> Path:
    """Eight cases; the third has one slice of NaN, or is cut off."""
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    image = np.full((40, 40, 40), -900, np.float32)
    image[10:30, 10:30, 10:30] = 60
    label = (image > 0).astype(np.uint8)
    for k in range(8):
        is_bad = k == 2
        scan = image.copy()
        if is_bad and bad == "nan":
            scan[0] = np.nan
        path = root / "imagesTr" / f"c{k}.nii.gz"
        nib.save(nib.Nifti1Image(scan, np.diag([8.0, 8, 8, 1])), path)
        nib.save(
            nib.Nifti1Image(label, np.diag([8.0, 8, 8, 1])), root / "labelsTr" / f"c{k}.nii.gz"
        )
        if is_bad and bad == "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    content = {
        "channel_names": {"0": "CT"},
        "labels": {name: value for value, name in enumerate(LABELS)},
        "numTraining": 8,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def run(dataset: Path, output: Path, **options: Any) -> forked.Ended:
    settings = {
        "architecture::filters": [4, 4, 8, 8, 8],
        "spacing": [10.0, 10.0, 10.0],
        "roi_size": [32, 32, 32],
        "epochs": 2,
        "iterations_per_epoch": 8,
        "batch_size": 1,
        "folds": 4,
        "num_workers": 0,
        "dataset_dir": str(dataset),
        "output_dir": str(output),
        **options,
    }
    words = ["run", "training", "--config_file", str(CONFIGS / "train.yaml")]
    words += [f"--{name}={value}" for name, value in settings.items()]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    return forked.run("monai.bundle", words, environment=environment)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bad", "options"),
    [
        ("nan", {}),
        ("nan", {"seed": 1}),  # the fault came in half of the tries
        ("cut", {"num_workers": 2, "cache_dir": "CACHE"}),  # the cases before it are stored
    ],
)
def test_the_command_ends_with_1_and_names_the_file(
    tmp_path: Path, bad: str, options: dict[str, Any]
) -> None:
    if "cache_dir" in options:
        options = {**options, "cache_dir": tmp_path / "cache"}
    done = run(write_dataset(tmp_path / "D", bad), tmp_path / "O", **options)
    assert done.returncode == 1, done.stderr[-2000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "c2.nii.gz" in errors[0], done.stderr[-2000:]
    assert "terminate called" not in done.stderr
    assert "Original Traceback" not in errors[0]


def threads() -> int:
    """How many run, tqdm's clock aside."""
    return sum(type(one).__name__ != "TMonitor" for one in threading.enumerate())


class Slow(Transform):
    """Preprocessing that takes a while, and fails at once for case 0."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        self.begun.append(item["id"])
        if item["id"] == 0:
            raise ImageError("case0.nii.gz: broken")
        time.sleep(0.3)
        self.ended.append(item["id"])
        return item


def test_no_thread_is_left_reading_when_the_error_leaves() -> None:
    slow, before = Slow(), threads()
    cases = CachedCases([{"id": k} for k in range(40)], transform=slow, num_workers=4)
    with pytest.raises(Exception, match=r".") as caught:
        cases.load()
    assert "case0" in str(caught.value) or "case0" in str(caught.value.__cause__)
    assert threads() == before
    assert sorted(slow.begun) == sorted([0, *slow.ended])  # what was begun has come to its end
    assert len(slow.begun) < 12  # and the rest was not begun


class Bad(Transform):
    """Preprocessing that fails for one case, as MONAI's wraps it."""

    def __init__(self, bad: int) -> None:
        self.bad = bad

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["id"] == self.bad:
            try:
                raise ImageError("c2.nii.gz: broken; mend it")
            except ImageError as error:
                raise RuntimeError("applying transform") from error
        window = torch.zeros(1, 8, 8, 8)
        return {"image": window, "label": window}


class Nothing(Compose):
    def __call__(self, case: Any, **options: Any) -> Any:
        return case


class Late(Compose):
    """An augmentation that does what a transform does with each item."""

    def __init__(self, transform: Transform) -> None:
        super().__init__([])
        self.late = transform

    def __call__(self, case: Any, **options: Any) -> Any:
        return self.late(case)


class Unread(Transform):
    """Preprocessing that leaves an item as it is."""

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        return item


def loader(workers: int, **options: Any) -> WindowLoader:
    windows = WindowDataset(
        [{"id": k} for k in range(4)], transform=Unread(), augmentation=Late(Bad(2))
    )
    return WindowLoader(
        windows, sampler=WindowSampler(8), batch_size=1, num_workers=workers, **options
    )


@FORKS
@pytest.mark.parametrize("persistent", [False, True])
def test_a_workers_error_has_its_own_text_and_the_workers_end(persistent: bool) -> None:
    before = threads()
    data = loader(2, persistent_workers=persistent)
    with pytest.raises(ImageError) as caught:
        trainer(network(), train_data_loader=data).run()
    assert str(caught.value) == "c2.nii.gz: broken; mend it"
    # while the error, and so all its frames, is still held
    assert multiprocessing.active_children() == []
    deadline = time.monotonic() + 5  # the threads that fed the workers see their queues closed
    while threads() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threads() == before


@FORKS
def test_workers_end_with_a_training_that_completes_and_may_start_again() -> None:
    data = loader(2, persistent_workers=True)
    data.dataset.augmentation = Late(Bad(-1))
    for _ in range(2):
        trainer(network(), train_data_loader=data, max_epochs=2).run()
        assert multiprocessing.active_children() == []


@FORKS
def test_cases_are_shared_with_the_workers_whatever_the_default_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NotPickled(Transform):
        """A cached case that only a forked worker can have."""

        def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
            return {"image": torch.full((1, 8, 8, 8), float(item["id"])), "label": torch.zeros(1)}

        def __reduce__(self) -> Any:
            raise AssertionError("the cases were pickled")

    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)  # macOS; Python 3.14 has forkserver
    try:
        windows = WindowDataset(
            [{"id": k} for k in range(4)], transform=NotPickled(), augmentation=Nothing()
        )
        windows.load()
        data = WindowLoader(windows, sampler=WindowSampler(4), batch_size=1, num_workers=2)
        seen = sorted(float(batch["image"].max()) for batch in data)
        data.close()
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert seen == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_where_forking_is_unsafe_the_windows_are_made_here(
    system: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading.sys, "platform", system)
    if system == "win32":
        monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    data = loader(2, persistent_workers=True)
    data.dataset.augmentation = Late(Bad(-1))
    assert len(list(data)) == 8
    assert data.num_workers == 0 and "cannot share cases in memory" in caplog.text
