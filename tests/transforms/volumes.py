"""Small volumes with known geometry, for the tests of this room."""

from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (36, 40, 30)


def centred_affine(
    columns: np.ndarray, centre_mm: Sequence[float], shape: Sequence[int] = SHAPE
) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = np.asarray(centre_mm) - columns @ ((np.asarray(shape) - 1) / 2)
    return affine


def rotation(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return about_z @ about_x


def all_axis_aligned() -> list[np.ndarray]:
    """The 48 ways in which three axes can be permuted and flipped."""
    return [
        np.eye(3)[list(p)] * np.asarray(signs)
        for p, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3))
    ]


def voxel_centres_mm(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def blob(
    shape: Sequence[int], affine: np.ndarray, centre_mm: Sequence[float], sigma_mm: float = 5.0
) -> np.ndarray:
    distance2 = ((voxel_centres_mm(shape, affine) - np.asarray(centre_mm)) ** 2).sum(-1)
    return (1000 * np.exp(-distance2 / (2 * sigma_mm**2))).astype(np.float32)


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(None, 0)
    nib.save(image, path)
    return path
