"""Stored cases in memory: neither a worker nor a training grows with their number."""

import multiprocessing
import os
import pickle
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Transform

from gridgate.pipeline.training.windows.cases import CachedCases
from gridgate.pipeline.training.windows.crops import WindowDataset
from gridgate.transforms import augmentation


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
