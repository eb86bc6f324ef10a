"""Measuring a dataset: each training case is opened once, in parallel, one in memory at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ...errors import DatasetError
from ...geometry.affines import spacing
from ...geometry.grids import Grid, same_grid
from ...geometry.label_grids import nearest_labels
from ...images.channels import check_channels
from ...images.reading import read_image, read_labels
from ...progress import Progress
from ..dataset import Dataset, load_dataset
from ..label_values import check_values
from ..parallel import in_processes, worker_count
from ..placement import check_placement
from ..soundness.body import find_body
from ..soundness.intensities import is_ct
from ..soundness.measures import towards_ras
from .numbers import CaseNumbers, Fingerprint, Intensities, LabelSize

_SAMPLE = 10_000  # labelled voxels of a case whose intensities are taken


@dataclass(frozen=True)
class _Job:
    """A case to be measured: its files, and the values of each of the dataset's labels."""

    id: str
    images: tuple[Path, ...]
    label: Path
    channels: tuple[str, ...]
    labels: Mapping[str, tuple[int, ...]]
    ignore: int | None
    unannotated: tuple[str, ...]


@dataclass(frozen=True)
class _Measured:
    """A case's numbers; (channels, N) intensities of labelled voxels, and their N values."""

    case: CaseNumbers
    intensities: NDArray[np.float32]
    values: NDArray[np.int32]
    seconds: float


def measure_fingerprint(dataset_dir: str | Path, *, workers: int | None = None) -> Fingerprint:
    """Measure a dataset's training cases.

    Args:
        dataset_dir: the dataset folder; nothing is written there.
        workers: processes, each with one case in memory at a time; None: one per CPU core, and
            none at all for a small dataset.

    Raises:
        DatasetError: the dataset has no training case, a label map does not lie on its image or
            holds values that dataset.json does not name; `gridgate check` finds them all at once.
        ImageError: a file cannot be read, or a channel does not lie on the first.
    """
    dataset = load_dataset(dataset_dir)
    jobs = _jobs(dataset)
    if not jobs:
        raise DatasetError(f"{dataset.root}: no case with a label map, so there is nothing to plan")
    found = []
    files = (path for job in jobs for path in (*job.images, job.label))
    count = worker_count(files, len(jobs), workers)
    with Progress(len(jobs), "measuring", unit="cases") as progress:
        for one in in_processes(_measure, jobs, workers=count):
            found.append(one)
            progress.advance()
    found.sort(key=lambda one: one.case.id)
    pooled = np.concatenate([one.intensities for one in found], axis=1)
    values = np.concatenate([one.values for one in found])
    if not pooled.size:
        raise DatasetError(
            f"{dataset.root}: no label map has a labelled voxel; see: gridgate check {dataset.root}"
        )
    return Fingerprint(
        dataset.name,
        dataset.channel_names,
        tuple(dataset.labels),
        tuple(one.case for one in found),
        tuple(_pooled(channel, values, jobs[0].labels) for channel in pooled),
        float(np.median([one.seconds for one in found])),
        None
        if dataset.regions is None
        else tuple(dataset.labels[name] for name in dataset.regions),
    )


def _jobs(dataset: Dataset) -> list[_Job]:
    plain = {name: (value,) for name, value in dataset.labels.items() if value}
    labels = plain if dataset.regions is None else dataset.regions
    return [
        _Job(
            case.id,
            case.images,
            case.label,
            dataset.channel_names,
            labels,
            dataset.ignore,
            dataset.unannotated(case),
        )
        for case in dataset.cases
        if case.label is not None
    ]


def _measure(job: _Job) -> _Measured:
    began = time.perf_counter()
    check_placement(job.id, job.images[0], job.label)
    labels = _labels_of(job)
    channels: list[NDArray[Any]] = []
    grids: list[tuple[Path, Grid]] = []  # as the files have them
    for path in job.images:
        read = read_image(
            path,
            channels=1 if len(job.images) > 1 else len(job.channels),
            non_finite="replace",
            keep_integers=True,
        )
        planes = [read.array] if read.array.ndim == 3 else list(read.array)
        turned = [towards_ras(plane, read.grid) for plane in planes]
        channels += [plane for plane, _ in turned]
        grids.append((path, read.grid))
        grid = turned[0][1]
    check_channels(grids)
    array, label_grid = towards_ras(*labels)
    if not same_grid(label_grid, grid):
        array = nearest_labels(array, label_grid, grid)
    content = _content(channels[0], job.channels[0])
    case = CaseNumbers(
        job.id,
        grid.shape,
        _three(spacing(grid.affine)),
        content,
        _sizes(array, grid, job.labels),
        job.unannotated,
    )
    return _Measured(case, *_sample(channels, array, job.ignore), time.perf_counter() - began)


def _labels_of(job: _Job) -> tuple[NDArray[Any], Grid]:
    read = read_labels(job.label)
    known = dict.fromkeys([0, *(value for values in job.labels.values() for value in values)], 0)
    if job.ignore is not None:
        known[job.ignore] = 0
    check_values(read.array, known, case=job.id, source=str(job.label))
    return read.array, read.grid


def _content(image: NDArray[Any], channel: str) -> tuple[int, int, int]:
    """Voxels of the box around the body of a CT, or around what is not 0."""
    if is_ct(channel):
        body = find_body(image)
        mask, step = body.mask, body.step
    else:
        mask, step = image != 0, (1, 1, 1)
    sizes = []
    for axis, size in enumerate(image.shape):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        inside = (int(along[-1]) - int(along[0]) + 1) * step[axis] if len(along) else size
        sizes.append(min(inside, size))
    return sizes[0], sizes[1], sizes[2]


def _sizes(
    labels: NDArray[Any], grid: Grid, names: Mapping[str, tuple[int, ...]]
) -> dict[str, LabelSize]:
    middle = (np.array(grid.shape) - 1) / 2
    found = {}
    highest = max(value for values in names.values() for value in values)
    boxes = ndimage.find_objects(labels.astype(np.int32, copy=False), max_label=highest)
    for name, values in names.items():
        box = _around([boxes[value - 1] for value in values])
        if box is None:
            continue
        mask = np.isin(labels[box], values)
        voxels = int(mask.sum())
        pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
        largest = int(np.bincount(pieces.ravel())[1:].max()) if count > 1 else voxels
        start = np.array([part.start for part in box])
        end = np.array([part.stop for part in box])
        centre = np.array(ndimage.center_of_mass(mask)) + start - middle
        found[name] = LabelSize(
            voxels * grid.voxel_ml,
            voxels / labels.size,
            _three(grid.affine[:3, :3] @ centre),
            largest / voxels,
            bool((start == 0).any() or (end == grid.shape).any()),
        )
    return found


def _around(boxes: Sequence[tuple[slice, ...] | None]) -> tuple[slice, ...] | None:
    """The box around all boxes that there are."""
    there = [box for box in boxes if box is not None]
    if not there:
        return None
    return tuple(
        slice(min(one.start for one in along), max(one.stop for one in along))
        for along in zip(*there, strict=True)
    )


def _sample(
    channels: Sequence[NDArray[Any]], labels: NDArray[Any], ignore: int | None
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """(channels, N) intensities of labelled voxels, spread evenly over them, and their values."""
    inside = labels > 0
    if ignore is not None:
        inside &= labels != ignore
    where = np.nonzero(inside)
    step = max(1, -(-len(where[0]) // _SAMPLE))
    at = tuple(index[::step] for index in where)
    found = np.stack([np.asarray(channel[at], dtype=np.float32) for channel in channels])
    return found, labels[at].astype(np.int32)


def _pooled(
    intensities: NDArray[np.float32],
    values: NDArray[np.int32],
    labels: Mapping[str, tuple[int, ...]],
) -> Intensities:
    exact = intensities.astype(np.float64)
    low, median, high = map(float, np.percentile(exact, (0.5, 50, 99.5)))
    medians = {
        name: float(np.median(exact[inside]))
        for name, members in labels.items()
        if (inside := np.isin(values, members)).any()
    }
    return Intensities(float(exact.mean()), float(exact.std()), low, median, high, medians)


def _three(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
