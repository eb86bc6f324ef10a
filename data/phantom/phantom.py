"""A synthetic abdominal CT with labels, for demos, tests and benchmarks without anyone's data.

It looks like a contrast-enhanced CT to an untrained eye and is no model of human anatomy: a network
that has learned it knows nothing about patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from scipy import ndimage

from ..errors import ConfigError
from ..geometry.grids import Grid
from .anatomy import Anatomy
from .shapes import Canvas, Waves
from .trunk import HALF_DEPTH, HALF_WIDTH, Tissue

PHANTOM_LABELS: dict[str, int] = {
    "background": 0,
    "liver": 1,
    "spleen": 2,
    "right_kidney": 3,
    "left_kidney": 4,
    "pancreas": 5,
    "aorta": 6,
}

_LABEL_OF_TISSUE: dict[Tissue, str] = {
    Tissue.LIVER: "liver",
    Tissue.LIVER_VESSEL: "liver",
    Tissue.SPLEEN: "spleen",
    Tissue.RIGHT_KIDNEY: "right_kidney",
    Tissue.RIGHT_SINUS: "right_kidney",
    Tissue.LEFT_KIDNEY: "left_kidney",
    Tissue.LEFT_SINUS: "left_kidney",
    Tissue.PANCREAS: "pancreas",
    Tissue.AORTA: "aorta",
}

# HU of a tissue: lowest and highest mean over cases. Labelled neighbours stay about 25 HU or more
# apart in every case; liver and spleen, which do not touch, may come closer.
_HU: dict[Tissue, tuple[float, float]] = {
    Tissue.AIR: (-1000, -1000),
    Tissue.TABLE_FOAM: (-930, -880),
    Tissue.TABLE_SHELL: (20, 90),
    Tissue.SKIN: (-10, 30),
    Tissue.OUTER_FAT: (-112, -98),
    Tissue.MUSCLE: (46, 56),
    Tissue.INNER_FAT: (-108, -94),
    Tissue.BONE_CORTEX: (480, 680),
    Tissue.BONE_MARROW: (300, 360),
    Tissue.DISC: (75, 95),
    Tissue.CANAL: (20, 35),
    Tissue.CARTILAGE: (110, 150),
    Tissue.LUNG: (-870, -820),
    Tissue.LUNG_VESSEL: (-250, -100),
    Tissue.HEART: (140, 165),
    Tissue.LIVER: (110, 120),
    Tissue.LIVER_VESSEL: (145, 165),
    Tissue.GALLBLADDER: (4, 16),
    Tissue.SPLEEN: (124, 138),
    Tissue.RIGHT_KIDNEY: (166, 188),
    Tissue.RIGHT_SINUS: (104, 120),
    Tissue.PANCREAS: (85, 94),
    Tissue.AORTA: (195, 230),
    Tissue.VEIN: (142, 160),
    Tissue.GUT_WALL: (42, 56),
    Tissue.GUT_CONTENT: (12, 34),
    Tissue.STOOL: (-30, 20),
    Tissue.GUT_GAS: (-960, -900),
}
# Tissues of one patient that look alike.
_SAME_HU = {
    Tissue.LEFT_KIDNEY: Tissue.RIGHT_KIDNEY,
    Tissue.LEFT_SINUS: Tissue.RIGHT_SINUS,
    Tissue.ILIAC: Tissue.AORTA,
    Tissue.CAPSULE_FAT: Tissue.INNER_FAT,
}

_ORIENTATIONS = ("RAS", "LPS", "LAS", "RPI", "LPI", "RAI", "LAI", "RPS")
# Voxels painted at a time: bounds the memory of coordinates and temporaries (about 100 bytes per
# voxel).
_SLAB_VOXELS = 2_000_000


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic CT and its truth, on one grid.

    image: (X,Y,Z) float32, HU, -1024 and up; labels: (X,Y,Z) uint8, the values of PHANTOM_LABELS.
    """

    image: np.ndarray
    labels: np.ndarray
    grid: Grid


def make_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] | None = None,
    spacing: tuple[float, float, float] | None = None,
    orientation: str | None = None,
    oblique_degrees: float | None = None,
) -> Phantom:
    """Make the abdominal CT of patient `seed`; the same arguments give the same bits.

    What is None is drawn from the seed, and never changes the patient: other grids show the same
    anatomy in the same place in the world (RAS+ mm, the scanner's zero being anywhere).

    Args:
        seed: which patient, 0 or more.
        shape: voxels, in the order of the array's axes. Without a spacing, the volume covers the
            trunk, about 300 x 240 x 205..245 mm; with one, any field of view may be asked for.
        spacing: mm, in the order of the array's axes. Without a shape, the volume covers the trunk.
        orientation: nibabel's code, such as "LPS".
        oblique_degrees: 0 to 40; tilts the grid, not the patient, about a random axis.

    Raises:
        ConfigError: a seed, shape, spacing, orientation or angle that there cannot be.

    Example:
        >>> phantom = make_phantom(7, shape=(20, 16, 12), orientation="LPS")
        >>> phantom.image.shape, phantom.labels.dtype, phantom.grid.orientation
        ((20, 16, 12), dtype('uint8'), 'LPS')
    """
    if seed < 0:
        raise ConfigError(f"The phantom's seed is {seed}; give a whole number from 0 up.")
    grid_rng, patient_rng, look_rng = (
        np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(3)
    )
    anatomy = Anatomy(patient_rng)
    # All is computed in RAS order and turned at the end, so that noise too is the same in each
    # orientation.
    code, plan = _draw_grid(grid_rng, anatomy, shape, spacing, orientation, oblique_degrees)
    image, labels = _render(anatomy, plan, look_rng)
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(code)
    )
    affine = plan.affine @ nib.orientations.inv_ornt_aff(turn, plan.shape)
    image, labels = (
        np.ascontiguousarray(nib.orientations.apply_orientation(array, turn))
        for array in (image, labels)
    )
    return Phantom(image=image, labels=labels, grid=Grid(shape=image.shape, affine=affine))


@dataclass(frozen=True, eq=False)
class _Plan:
    """A grid in RAS order: voxel indices to the world's mm (`affine`) and the anatomy's."""

    shape: tuple[int, int, int]
    affine: np.ndarray
    to_patient: np.ndarray


def _draw_grid(
    rng: np.random.Generator,
    anatomy: Anatomy,
    shape: tuple[int, int, int] | None,
    spacing: tuple[float, float, float] | None,
    orientation: str | None,
    oblique_degrees: float | None,
) -> tuple[str, _Plan]:
    """Settle the grid: an orientation code, and the rest in RAS order."""
    # Every draw is made whatever was asked for, so that one argument does not change the rest.
    view = np.array(
        [
            2 * HALF_WIDTH * anatomy.stretch[0] + rng.uniform(16, 34),
            2 * HALF_DEPTH * anatomy.stretch[1] + rng.uniform(34, 44),
            rng.uniform(205, 245),
        ]
    )
    in_plane, slices = rng.uniform(2.55, 3.1), rng.uniform(3.2, 4.4)
    drawn_code = _ORIENTATIONS[rng.integers(len(_ORIENTATIONS))]
    drawn_angle = rng.uniform(2, 9) if rng.random() < 0.3 else 0.0
    axis = rng.normal(size=3) + np.array([1.5, 0, 0])
    centre = np.array([0.0, -8.0, rng.uniform(-4, 8)]) + rng.uniform(-3, 3, size=3)
    world = rng.uniform(-1, 1, size=3) * (60, 60, 400)

    code = drawn_code if orientation is None else orientation.upper()
    angle = drawn_angle if oblique_degrees is None else float(oblique_degrees)
    _check_asked(shape, spacing, code, angle)
    # From the array's axes to R, A, S.
    place = [next(i for i, c in enumerate(code) if c in pair) for pair in ("RL", "AP", "SI")]
    if spacing is not None:
        size = np.array([spacing[i] for i in place], float)
    elif shape is not None:
        size = np.round(view / [shape[i] for i in place], 3)
    else:
        size = np.round([in_plane, in_plane, slices], 2)
    count = (
        [shape[i] for i in place]
        if shape is not None
        else np.ceil(view / size).astype(int).tolist()
    )

    affine = np.eye(4)
    affine[:3, :3] = _turn(axis, math.radians(angle)) * size
    affine[:3, 3] = np.round(centre + world, 2) - affine[:3, :3] @ ((np.array(count) - 1) / 2)
    to_patient = affine.copy()
    to_patient[:3, 3] -= np.round(world, 2)
    return code, _Plan((int(count[0]), int(count[1]), int(count[2])), affine, to_patient)


def _check_asked(
    shape: tuple[int, int, int] | None,
    spacing: tuple[float, float, float] | None,
    code: str,
    angle: float,
) -> None:
    """Refuse a grid that cannot be."""
    if len(code) != 3 or any(sum(c in pair for c in code) != 1 for pair in ("RL", "AP", "SI")):
        raise ConfigError(
            f"The orientation {code!r} is none: give one of R/L, A/P and S/I each, such as 'LPS'."
        )
    if not 0 <= angle <= 40:
        raise ConfigError(f"oblique_degrees is {angle:g}; give 0 to 40 degrees.")
    if shape is not None and (len(shape) != 3 or min(shape) < 1):
        raise ConfigError(
            f"The phantom's shape is {shape}; give three whole numbers of voxels, 1 or more."
        )
    if spacing is not None and (len(spacing) != 3 or not all(0 < s < math.inf for s in spacing)):
        raise ConfigError(f"The phantom's spacing is {spacing}; give three numbers of mm above 0.")


def _turn(axis: np.ndarray, angle: float) -> np.ndarray:
    """(3,3) rotation by `angle` (radians) about `axis`: Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)


def _render(
    anatomy: Anatomy, plan: _Plan, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Tissues -> HU and labels, slab by slab; then partial volume and noise, of the whole image."""
    hu = np.zeros(len(Tissue), np.float32)
    for tissue, (low, high) in _HU.items():
        hu[tissue] = rng.uniform(low, high)
    for tissue, same in _SAME_HU.items():
        hu[tissue] = hu[same]
    value = np.zeros(len(Tissue), np.uint8)
    for tissue, name in _LABEL_OF_TISSUE.items():
        value[tissue] = PHANTOM_LABELS[name]
    texture = Waves.draw(rng, count=6, wavelength=(18, 90), amplitude=9.0)
    noise_sd, blur, grain = rng.uniform(12, 19), rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.65)

    image = np.empty(plan.shape, np.float32)
    labels = np.empty(plan.shape, np.uint8)
    depth = max(1, _SLAB_VOXELS // (plan.shape[0] * plan.shape[1]))
    for start in range(0, plan.shape[2], depth):
        slab = slice(start, min(start + depth, plan.shape[2]))
        affine = plan.to_patient.copy()
        affine[:3, 3] += affine[:3, 2] * start
        canvas = Canvas(
            (plan.shape[0], plan.shape[1], slab.stop - slab.start), affine, anatomy.warp
        )
        anatomy.paint(canvas)
        labels[:, :, slab] = value[canvas.tissue]
        solid = hu[canvas.tissue]
        solid[solid > -200] += texture(canvas.x, canvas.y, canvas.z)[solid > -200]
        image[:, :, slab] = solid
    image = ndimage.gaussian_filter(image, blur, mode="nearest")
    noise = rng.standard_normal(plan.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, grain, mode="wrap")
    noise *= noise_sd / _white_gain(grain)
    image += noise
    # A CT's numbers end at -1024.
    np.maximum(image, -1024, out=image)
    return image, labels


def _white_gain(sigma: float) -> float:
    """The standard deviation of white noise (of 1) after a 3-D Gaussian filter."""
    impulse = np.zeros(33)
    impulse[16] = 1
    return float(np.square(ndimage.gaussian_filter1d(impulse, sigma)).sum() ** 1.5)
