"""Distances between surfaces on the GPU that a run computes on, by MONAI with cuCIM."""

from __future__ import annotations

import importlib.util
import logging

import numpy as np
import torch
from monai.transforms.utils import distance_transform_edt

logger = logging.getLogger(__name__)

_PACKAGES = ("cucim", "cupy")


def gpu_of_distances(axes_mm: np.ndarray) -> torch.device | None:
    """The GPU to compute on; None where KDTree does it on the CPU.

    A GPU is taken where this process computes on one already, so that `--device cpu` stays on the
    CPU; cuCIM and CuPy are installed; and the voxels' axes are at right angles, as the distance
    transform wants.

    Args:
        axes_mm: (3, 3), columns are the steps along each axis.
    """
    if not torch.cuda.is_initialized():
        return None
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        return None
    products = axes_mm.T @ axes_mm
    lengths = np.sqrt(np.diag(products))
    off = np.abs(products - np.diag(lengths**2)) / np.outer(lengths, lengths)
    return torch.device("cuda") if off.max() < 1e-9 else None


def distances_on_gpu(
    surface: np.ndarray, other: np.ndarray, axes_mm: np.ndarray, device: torch.device
) -> tuple[np.ndarray, np.ndarray] | None:
    """The distances of both surfaces' voxels to the other one; None where the GPU cannot.

    Args:
        surface, other, axes_mm, device: see distances_by_transform.
    """
    try:
        return (
            distances_by_transform(surface, other, axes_mm, device),
            distances_by_transform(other, surface, axes_mm, device),
        )
    except Exception as error:  # CuPy's and cuCIM's own types, such as of a GPU that is full
        first = str(error).strip().splitlines()[:1]
        logger.warning(f"surface distances on the CPU, as the GPU failed: {''.join(first)}")
        return None


def distances_by_transform(
    surface: np.ndarray, other: np.ndarray, axes_mm: np.ndarray, device: torch.device
) -> np.ndarray:
    """Of each surface voxel the distance to the other surface's nearest one, mm, float64 (N,).

    Args:
        surface, other: bool (X, Y, Z), both with voxels.
        axes_mm: (3, 3), at right angles.
        device: on a CPU MONAI takes SciPy's transform, on CUDA cuCIM's.
    """
    steps = [float(step) for step in np.linalg.norm(axes_mm, axis=0)]
    outside = torch.from_numpy(~other).to(device)[None]
    found = distance_transform_edt(outside, sampling=steps, float64_distances=True)
    assert isinstance(found, torch.Tensor)
    at = torch.from_numpy(surface).to(found.device)
    return found[0][at].double().cpu().numpy()
