"""Cases on disk give what cases in memory give, in less memory, to any kind of worker."""

import logging
import multiprocessing
import os
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, RandGaussianNoised, Randomizable, Transform

from gridgate.data.datasets.cache.arrays import StoredArray
from gridgate.data.datasets.cache.folder import BusyError, CaseCache
from gridgate.data.datasets.parts import dataset_cases
from gridgate.data.errors import DatasetError
from gridgate.pipeline.training.windows.cases import CachedCases
from gridgate.pipeline.training.windows.crops import WindowDataset, WindowSampler
from gridgate.pipeline.training.windows.loading import WindowLoader, can_fork
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


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


PREPARE = prepare()  # MONAI notes in a case which objects have made it


@pytest.fixture(scope="module")
def in_memory(phantom_dataset: Path) -> WindowDataset:
    return windows(phantom_dataset, None, preparing=PREPARE)


@pytest.fixture(scope="module")
def on_disk(phantom_dataset: Path, cache: Path) -> WindowDataset:
    return windows(phantom_dataset, cache, preparing=PREPARE)


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


def made_now(dataset: CachedCases, caplog: pytest.LogCaptureFixture) -> int:
    caplog.clear()
    with caplog.at_level(logging.INFO):
        dataset.load()
    (count,) = re.findall(r"(\d+) of them were made now", caplog.text)
    return int(count)


def test_folds_and_validations_share_the_cases(
    phantom_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = [
        made_now(dataset, caplog)
        for fold in range(3)
        for dataset in (
            windows(phantom_dataset, tmp_path, fold=fold),
            whole(phantom_dataset, tmp_path, part="validation", fold=fold),
        )
    ]
    assert made == [4, 2, 0, 0, 0, 0]


def test_what_changes_a_case_makes_it_anew(
    phantom_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = Path(shutil.copytree(phantom_dataset, tmp_path / "D"))
    folder = tmp_path / "cache"
    assert made_now(windows(dataset, folder), caplog) == 4
    moved = Path(shutil.copytree(dataset, tmp_path / "elsewhere"))
    again = windows(moved, folder, foreground=0.1, rotation_degrees=90)
    assert made_now(again, caplog) == 0  # nor does the augmentation count
    assert str(moved) in str(again.load()[0]["image"].meta["filename_or_obj"])
    for other in ({"spacing": (8, 8, 7)}, {"intensity": {**WINDOW, "low": -161}}):
        assert made_now(windows(dataset, folder, preparing=prepare(**other)), caplog) == 4
    assert made_now(windows(dataset, folder, preparing=prepare(foreground=None)), caplog) == 4
    item = windows(dataset, folder).data[1]
    label = nib.load(item["label"])
    values = np.asarray(label.dataobj).copy()
    values[values == 1] = 2
    nib.save(nib.Nifti1Image(values, label.affine, label.header), item["label"])
    changed = windows(dataset, folder)
    assert made_now(changed, caplog) == 1
    assert not (changed.load()[1]["label"] == 1).any()
    assert (changed.load()[0]["label"] == 1).any()


def test_a_damaged_case_is_made_again(
    phantom_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    windows(phantom_dataset, tmp_path).load()
    first = sorted(tmp_path.glob("cases/*/*/array_0.b2nd"))[0]
    first.write_bytes(first.read_bytes()[:-9])
    again = windows(phantom_dataset, tmp_path)
    again.load()
    assert "is damaged" in caplog.text and str(first.parent) in caplog.text
    assert_same(again[3], windows(phantom_dataset, None)[3])


def test_a_case_that_is_removed_meanwhile_is_an_error_of_ours(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    cases = whole(phantom_dataset, tmp_path, part="validation")
    cases.load()
    CaseCache(tmp_path).clear()
    with pytest.raises(DatasetError, match="this stored case cannot be read"):
        cases[0]


def test_a_training_takes_what_another_one_makes(
    phantom_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process has in hand is left for the end, and then found."""
    asked: list[bool] = []
    original = CaseCache.store

    def busy_at_first(self: CaseCache, key: str, make: Any, **options: Any) -> Any:
        asked.append(options["wait"])
        if not options["wait"] and len(asked) == 1:
            raise BusyError(key)
        return original(self, key, make, **options)

    monkeypatch.setattr(CaseCache, "store", busy_at_first)
    cases = CachedCases(
        dataset_cases(phantom_dataset, part="train", folds=3),
        transform=prepare(),
        cache_dir=tmp_path,
        num_workers=1,
    )
    assert len(cases.load()) == 4 and asked == [False] * 4 + [True]


class Annotated(MapTransform):
    """Leaves other small items in a case, and reads one."""

    def __call__(self, data: Any) -> dict[str, Any]:
        annotated = torch.tensor([True, False, data["annotated"] == ["liver"]])
        return {**data, "annotated": annotated, "more": {"n": (1, None), "text": "ä"}}


def test_any_small_items_are_kept(phantom_dataset: Path, tmp_path: Path) -> None:
    data = dataset_cases(phantom_dataset, part="validation", folds=3)
    items = [{**one, "annotated": ["liver"], "source": "X"} for one in data]
    transform = Compose([prepare(), Annotated("image")])
    stored = CachedCases(items, transform=transform, cache_dir=tmp_path)
    kept = CachedCases(items, transform=transform)
    for one, other in zip(stored.load(), kept.load(), strict=True):
        assert_same(one, dict(other))
        assert one["annotated"].tolist() == [True, False, True] and one["source"] == "X"
    others = [{**one, "annotated": ["spleen"]} for one in items]
    again = CachedCases(others, transform=transform, cache_dir=tmp_path)
    assert again[0]["annotated"].tolist() == [True, False, False]


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


class Blank(Transform):
    """A case of 32 MB without a file's work."""

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        image = torch.zeros(1, 128, 128, 256)
        image[0, 0, 0, 0] = float(item["id"])
        return {"id": item["id"], "image": image, "label": (image > 0).float()}


def test_what_is_pickled_for_a_worker_does_not_grow(tmp_path: Path) -> None:
    few, many = (pickle.dumps(blank(tmp_path, count)) for count in (4, 16))
    assert (len(many) - len(few)) / 12 < 2000  # bytes a case


def blank(folder: Path, count: int) -> WindowDataset:
    """So many cases, loaded."""
    scan = folder / "scan.nii.gz"
    if not scan.exists():
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)), scan)
    found = WindowDataset(
        [{"id": str(n), "image": str(scan), "label": str(scan)} for n in range(count)],
        transform=Blank(),
        augmentation=augmentation(roi_size=(16, 16, 16), label_count=2),
        cache_dir=folder / "cache",
        num_workers=1,
    )
    found.load()
    return found


def _peak(folder: Path, count: int, told: Any) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is this process's from here on
    before = _most()
    cases = blank(folder, count)
    for key in range(2 * count):
        cases[key]
    for index in range(count):  # as a validation reads them
        CachedCases.__getitem__(cases, index)
    told.put(_most() - before)


def _most() -> int:
    (found,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) * 1024


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux's memory")
def test_memory_does_not_grow_with_the_number_of_cases(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    peaks = []
    for count in (4, 16):
        told = context.Queue()
        child = context.Process(target=_peak, args=(tmp_path / str(count), count, told))
        (tmp_path / str(count)).mkdir()
        child.start()
        peaks.append(told.get(timeout=120))
        child.join()
    size = 2 * 128 * 128 * 256 * 4
    assert peaks[0] > size / 2  # it is seen at all
    assert peaks[1] < peaks[0] + 2 * size, peaks  # for 12 cases more
