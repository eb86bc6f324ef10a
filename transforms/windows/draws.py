"""What is drawn of a training window, apart from where and on what it is applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Matrix = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class IntensityDraw:
    """What is done to a window's intensities, in this order; None leaves a part out.

    Attributes:
        noise: std of Gaussian noise.
        noise_seed: 0 to 2^64 - 1; which noise it is.
        blur: sigma of a Gaussian along each axis, voxels.
        brightness: factor of all values.
        shift: added to all values.
        contrast: factor of the distance from the mean; the range stays.
        zoom: size of the grid that the window is resampled to and back, as a share of its own.
        inverted_gamma: exponent of the inverted window, scaled to 0 to 1; mean and std stay.
        gamma: the same of the window as it is.
    """

    noise: float | None = None
    noise_seed: int = 0
    blur: tuple[float, float, float] | None = None
    brightness: float | None = None
    shift: float | None = None
    contrast: float | None = None
    zoom: float | None = None
    inverted_gamma: float | None = None
    gamma: float | None = None


@dataclass(frozen=True)
class WindowDraw:
    """All that is random of a training window, of its image and its label alike.

    Attributes:
        start: its first voxel in the volume, before turning; negative where the volume is smaller.
        matrix: (3, 3), voxels from the window's centre -> those in the volume; None: as they are.
        flips: spatial axes, 0 to 2, along which the window is mirrored in the end.
        intensity: of the image alone.
    """

    start: tuple[int, int, int]
    matrix: Matrix | None = None
    flips: tuple[int, ...] = ()
    intensity: IntensityDraw = IntensityDraw()


def drawn_start(
    random: np.random.Generator,
    shape: Sequence[int],
    size: Sequence[int],
    indices: Sequence[Any] | None,
    *,
    foreground: float,
) -> tuple[int, int, int]:
    """First voxel of a window on each axis; negative where the volume is smaller.

    Args:
        shape, size: of the volume and the window, (x, y, z) voxels.
        indices: of the voxels of each class, as ClassIndicesd lists them; the first is passed over.
        foreground: probability that the centre is a voxel of a class drawn among those present.
    """
    wants_class = random.random() < foreground
    present = [voxels for voxels in (indices or [])[1:] if len(voxels)]
    if wants_class and present:
        voxels = present[int(random.integers(len(present)))]
        flat = int(voxels[int(random.integers(len(voxels)))])
        centre = np.unravel_index(flat, tuple(shape))
        wanted = [int(c) - length // 2 for c, length in zip(centre, size, strict=True)]
    else:
        wanted = [
            int(random.integers(max(n - length, 0) + 1))
            for n, length in zip(shape, size, strict=True)
        ]
    x, y, z = (
        min(max(first, 0), n - length) if n >= length else -((length - n) // 2)
        for first, n, length in zip(wanted, shape, size, strict=True)
    )
    return x, y, z


def turning(
    radians: Sequence[float], factor: float, spacing_mm: Sequence[float] = (1.0, 1.0, 1.0)
) -> Matrix:
    """The matrix of a WindowDraw that turns in mm, so that the anatomy is not sheared.

    Args:
        radians: around the first axis, then the second, then the third.
        factor: by which the anatomy grows.
        spacing_mm: of the volume's voxels.

    Example:
        >>> turning((0, 0, 0), 2.0)
        ((0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5))
    """
    rotation = np.eye(3)
    for axis, angle in enumerate(radians):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        rotation = turn @ rotation
    mm = np.asarray(spacing_mm, dtype=np.float64)
    matrix = rotation * (mm[None, :] / mm[:, None]) / factor
    return tuple((float(a), float(b), float(c)) for a, b, c in matrix)


def drawn_intensity(random: np.random.Generator) -> IntensityDraw:
    """A draw of nnU-Net's set of changes, with its probabilities (Isensee et al., 2021).

    Strengths are made for intensities of about unit range or unit std.
    """
    return IntensityDraw(
        noise=_perhaps(random, 0.1, 0.0, 0.1),
        noise_seed=int(random.integers(2**64, dtype=np.uint64)),
        blur=_drawn_blur(random),
        brightness=_perhaps(random, 0.15, 0.75, 1.25),
        shift=_perhaps(random, 0.15, -0.1, 0.1),
        contrast=_perhaps(random, 0.15, 0.75, 1.25),
        zoom=_perhaps(random, 0.25, 0.5, 1.0),
        inverted_gamma=_perhaps(random, 0.1, 0.7, 1.5),
        gamma=_perhaps(random, 0.3, 0.7, 1.5),
    )


def _perhaps(
    random: np.random.Generator, probability: float, low: float, high: float
) -> float | None:
    return random.uniform(low, high) if random.random() < probability else None


def _drawn_blur(random: np.random.Generator) -> tuple[float, float, float] | None:
    if random.random() >= 0.2:
        return None
    x, y, z = (random.uniform(0.5, 1.0) for _ in range(3))
    return x, y, z
