"""Changing a window's intensities as it was drawn, on the window's device.

Each change gives what MONAI's transform of the parameters gives, and waits for no device: MONAI's
gamma reads the range of the intensities, its blur the taps of its kernels, and both are slower on a
CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.layers.convutils import gaussian_1d
from torch.nn import functional

from .draws import IntensityDraw
from .noise import gaussian_noise

_SIGMAS = 4.0  # to either side that a blur's kernel reaches


def change_intensities(image: torch.Tensor, draw: IntensityDraw) -> torch.Tensor:
    """The window with the changes of a draw.

    Args:
        image: (C, x, y, z) float32; it may be overwritten. Channels are changed alike, but for the
            noise.
    """
    if draw.noise is not None:
        noise = gaussian_noise(image.shape, draw.noise_seed, image.device)
        image = image.add_(noise, alpha=draw.noise)
    if draw.blur is not None:
        image = blurred(image, draw.blur)
    if draw.brightness is not None:
        image = image.mul_(draw.brightness)
    if draw.shift is not None:
        image = image.add_(draw.shift)
    if draw.contrast is not None:
        image = contrasted(image, draw.contrast)
    if draw.zoom is not None:
        image = coarsened(image, draw.zoom)
    if draw.inverted_gamma is not None:
        image = gamma_changed(image, draw.inverted_gamma, inverted=True)
    return image if draw.gamma is None else gamma_changed(image, draw.gamma)


def blurred(image: torch.Tensor, sigma: Sequence[float]) -> torch.Tensor:
    """Convolved with a Gaussian along each axis, with zeros outside; GaussianSmooth of MONAI.

    Args:
        sigma: voxels.
    """
    for axis, one in enumerate(sigma, start=1):
        if image.shape[axis] == 1:
            continue  # zeros on both sides would only darken a single slice
        taps = gaussian_1d(torch.tensor(one), truncated=_SIGMAS).tolist()
        middle, length = len(taps) // 2, image.shape[axis]
        result = image * taps[middle]
        for by in range(1, min(middle, length - 1) + 1):
            inside, weight = length - by, taps[middle + by]
            for to, from_ in ((by, 0), (0, by)):
                part = image.narrow(axis, from_, inside)
                result.narrow(axis, to, inside).add_(part, alpha=weight)
        image = result
    return image


def contrasted(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Farther from the mean, within the range that there was; overwrites `image`.

    ScaleIntensityFixedMean(factor - 1, preserve_range=True) of MONAI.
    """
    low, high = image.amin(), image.amax()
    mean = image.mean()
    return image.sub_(mean).mul_(factor).add_(mean).clamp_(low, high)


def coarsened(image: torch.Tensor, zoom: float) -> torch.Tensor:
    """Resampled to a coarser grid by nearest neighbours, and back by trilinear interpolation.

    RandSimulateLowResolution of MONAI.

    Args:
        zoom: the coarser grid's size along each axis, as a share.
    """
    size = image.shape[1:]
    coarse = [max(1, round(length * zoom)) for length in size]
    small = functional.interpolate(image[None], size=coarse, mode="nearest")
    return functional.interpolate(small, size=size, mode="trilinear", align_corners=False)[0]


def gamma_changed(image: torch.Tensor, gamma: float, *, inverted: bool = False) -> torch.Tensor:
    """Scaled to 0 to 1, to the power of gamma, and back to the mean and std that there were.

    AdjustContrast(gamma, invert_image=inverted, retain_stats=True) of MONAI.
    """
    degrees = math.sqrt(max(image.numel() - 1, 1))
    low, high, mean = image.amin(), image.amax(), image.mean()
    span = high - low
    std = torch.linalg.vector_norm(image - mean) / degrees
    power = (high - image if inverted else image - low).div_(span + 1e-7).pow_(gamma)
    power.sub_(power.mean())
    now = torch.linalg.vector_norm(power) / degrees
    back = span * std / (span * now + 1e-8)
    return power.mul_(-back if inverted else back).add_(mean)
