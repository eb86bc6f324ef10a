"""How fast a training goes: its iterations and validations in seconds, from what was measured."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from statistics import median
from typing import Any

import numpy as np
import torch

from ....data.cores import usable_cores
from ....data.datasets.fingerprint.numbers import Fingerprint
from ....transforms import ClassIndicesd, augmentation
from ...inference.window_grid import WindowGrid
from .machine import Machine
from .trial import Step

FOLDS = 5
OVERLAP, VALIDATION_OVERLAP = 0.5, 0.25
_DRAWN = 8
_MOST_VOXELS = 64e6  # of the case that windows are drawn from
_WORKERS = 12  # at most, for a GPU
# Of a GPU, where the network is so fast that the rest counts; seen on an H200 with 16 cores
# (benchmarks/results/cuda_h200.md).
_GPU_START = 15.0  # seconds until the first step: kernels are chosen, processes start
_GPU_EPOCH = 0.1  # seconds between two epochs
_GPU_CASE = 0.03  # seconds of a validation case beside the network, and per voxel and label:
_GPU_VOXEL = 1.6e-8


@dataclass(frozen=True)
class Pace:
    """Seconds.

    Args:
        iteration: with the drawing of its windows.
        validation: of all validation cases of a fold.
        reading: of all cases, and what else is before the first iteration.
        case: of the windows of the median case, with their flips, when the trained bundle is run.
        epoch: between two epochs.
    """

    iteration: float
    validation: float
    reading: float
    case: float
    epoch: float = 0.0

    def with_flips(self, axes: Sequence[int]) -> Pace:
        """The pace where the trained bundle is run with all flips of these axes, too."""
        return replace(self, case=self.case * 2 ** len(axes))


def measure_pace(
    fingerprint: Fingerprint,
    spacing: Sequence[float],
    window: Sequence[int],
    batch: int,
    step: Step,
    machine: Machine,
) -> Pace:
    """The pace of a training whose step was measured; the drawing of a window is measured here."""
    shape = np.median(fingerprint.shapes(spacing), axis=0)
    drawing = batch * _drawing_seconds(shape, window, len(fingerprint.labels))
    reading, epoch = fingerprint.case_seconds * len(fingerprint.cases) / 2, 0.0
    cores = usable_cores()
    validation, case = (
        _windows(shape, window, overlap) * step.forward_seconds / batch
        for overlap in (VALIDATION_OVERLAP, OVERLAP)
    )
    if machine.kind == "cuda":
        iteration = max(step.seconds, drawing / min(max(cores - 2, 2), _WORKERS))
        validation += _GPU_CASE + _GPU_VOXEL * float(shape.prod()) * len(fingerprint.labels)
        reading, epoch = reading + _GPU_START, _GPU_EPOCH
    else:  # the workers take the cores that the network computes on
        iteration = step.seconds + drawing / cores
    cases = ceil(len(fingerprint.cases) / FOLDS)
    return Pace(iteration, cases * validation, reading, case, epoch)


def _windows(shape: np.ndarray, window: Sequence[int], overlap: float) -> int:
    grid = WindowGrid([int(size) or 1 for size in shape], window, [overlap] * 3)
    return len(grid.starts)


def _drawing_seconds(shape: np.ndarray, window: Sequence[int], labels: int) -> float:
    """Of one window, with every augmentation, from a case of random values."""
    share = min(1.0, (_MOST_VOXELS / float(shape.prod())) ** (1 / 3))
    size = [max(1, int(share * length)) for length in shape]
    random = np.random.default_rng(0)
    case: Mapping[Hashable, Any] = {
        "image": torch.from_numpy(random.standard_normal((1, *size), dtype=np.float32)),
        "label": torch.from_numpy((random.random((1, *size)) < 0.01).astype(np.float32)),
    }
    case = ClassIndicesd("label", label_count=labels)(case)
    draw = augmentation(roi_size=window, label_count=labels)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker process
    try:
        seconds = []
        for seed in range(_DRAWN):
            draw.set_random_state(seed=seed)
            began = time.perf_counter()
            draw(case)
            seconds.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return median(seconds)
