"""Surface Dice, Hausdorff, centres and specificity: shapes by hand, the definition, libraries."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai import metrics as monai_metrics
from scipy import ndimage
from scipy.spatial.distance import cdist

from gridgate.data.errors import ConfigError
from gridgate.data.label_tables.measured import Measured
from gridgate.pipeline.evaluation.metrics import LabelMetrics, case_metrics
from gridgate.pipeline.evaluation.tolerances import tolerance

SPACING = (2.0, 2.5, 4.0)
SHEARED = np.array([[1.5, 0.4, -0.3, 9], [-0.2, 2.0, 0.6, -40], [0.5, 0.1, 3.0, 7], [0, 0, 0, 1]])
DISTANCES = ("hd_mm", "hd95_mm", "assd_mm", "centre_distance_mm")
Numbers = Sequence[float]
Masks = tuple[np.ndarray, np.ndarray]
SYMMETRIC = (*DISTANCES, "nsd", "dice", "iou")
pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*")


def compare(one: np.ndarray, two: np.ndarray, tolerance_mm: float = 1, **grid: Any) -> LabelMetrics:
    """The measures of two masks."""
    grid = grid if "affine" in grid else {"spacing_mm": SPACING} | grid
    measured, labels = Measured(tolerances_mm={"x": tolerance_mm}), {"x": 1}
    return case_metrics(one * 1, two * 1, labels=labels, measured=measured, **grid)[0]


def nsd(one: np.ndarray, two: np.ndarray, tolerance_mm: float, **grid: Any) -> float:
    return compare(one, two, tolerance_mm, **grid).nsd


def random_masks(drawn: tuple[int, float, float]) -> Masks:
    """Two masks of noise, neither empty."""
    one, two = np.random.default_rng(drawn[0]).random((2, 5, 4, 6))
    return one <= max(drawn[1], one.min()), two <= max(drawn[2], two.min())


fills, scales = st.floats(0.1, 0.9), st.sampled_from([0.01, 0.3, 7.0, 100.0])
pairs_of_masks = st.tuples(st.integers(0, 2**32 - 1), fills, fills).map(random_masks)


def blob(seed: int) -> np.ndarray:
    """A smooth random mask, a third of the array."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(20, 18, 14)), 2)
    return noise > np.quantile(noise, 0.66)


def by_definition(one: np.ndarray, two: np.ndarray, tolerance_mm: float) -> dict[str, float]:
    """All pairs of surface voxels, on the sheared grid."""
    surfaces = [mask & ~ndimage.binary_erosion(mask) for mask in (one, two)]  # by faces
    apart = cdist(*(np.argwhere(mask) @ SHEARED[:3, :3].T for mask in surfaces))
    there, back = apart.min(axis=1), apart.min(axis=0)
    both = np.concatenate([there, back])
    centre = np.argwhere(one).mean(axis=0) - np.argwhere(two).mean(axis=0)
    return {
        "hd_mm": max(there.max(), back.max()),
        "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd_mm": both.mean(),
        "nsd": float((both <= tolerance_mm + 1e-6).mean()),
        "centre_distance_mm": float(np.linalg.norm(SHEARED[:3, :3] @ centre)),
    }


@pytest.mark.parametrize("axis", range(3))
def test_slabs_apart(axis: int) -> None:
    """Slabs of 4 x 5 x 4 voxels, 6 steps apart along the first axis: planes 2..5 and 8..11.

    Plane p of the first is 8 - p steps from the other's near face, which is all surface: 20 voxels
    at 6, 14 (without the inner 3 x 2) at 5 and at 4, 20 at 3; and the same on the way back.
    """
    one, two = np.zeros((2, 14, 5, 4), bool)
    one[2:6], two[8:12] = True, True
    one, two = np.moveaxis(one, 0, axis), np.moveaxis(two, 0, axis)
    step = SPACING[axis]
    row = compare(one, two)
    assert row.hd_mm == row.hd95_mm == row.centre_distance_mm == pytest.approx(6 * step)
    assert row.assd_mm == pytest.approx(4.5 * step)  # (20 x 6 + 14 x 5 + 14 x 4 + 20 x 3) / 68
    for steps, voxels in ((2.999, 0), (3, 20), (4, 34), (4.999, 34), (5, 48), (5.999, 48), (6, 68)):
        assert nsd(one, two, steps * step) == pytest.approx(voxels / 68), steps
    # Rounding leaves no voxel outside: 3 x 0.1 > 0.3.
    assert nsd(one, two, 0.3, spacing_mm=(0.1, 0.1, 0.1)) == pytest.approx(20 / 68)
    assert nsd(one, two, 0.3 - 5e-6, spacing_mm=(0.1, 0.1, 0.1)) == 0.0


def test_a_box_shifted_by_a_voxel() -> None:
    """6 x 6 x 6 voxels, shifted along x; 216 - 64 = 152 are surface.

    Of each box a face of 36 and the inner 16 of the opposite one are 1 mm away (the steps along y
    and z are longer), the others 0.
    """
    one, two = np.zeros((2, 9, 8, 8), bool)
    one[1:7, 1:7, 1:7], two[2:8, 1:7, 1:7] = True, True
    row = compare(one, two, 0.999, spacing_mm=(1, 2, 3))
    assert row.hd_mm == row.hd95_mm == row.centre_distance_mm == 1.0
    assert row.assd_mm == pytest.approx(52 / 152)
    assert row.nsd == nsd(one, two, 0.0, spacing_mm=(1, 2, 3)) == pytest.approx(100 / 152)
    assert nsd(one, two, 1.0, spacing_mm=(1, 2, 3)) == 1.0


def test_concentric_cubes() -> None:
    """9 and 5 voxels wide; the outer one fills the array.

    Inner surface: 125 - 27 = 98 voxels, 2 mm from the outer. Outer: 729 - 343 = 386, off by
    (2, 0, 0) mm: 3 x 2 x 25 = 150 voxels; (2, 1, 0): 6 x 2 x 2 x 5 = 120; (2, 1, 1): 3 x 8 = 24;
    (2, 2, 0): 3 x 4 x 5 = 60; (2, 2, 1): 24; (2, 2, 2): 8.
    """
    outer, inner = np.ones((9, 9, 9), bool), np.pad(np.ones((5, 5, 5), bool), 2)
    row = compare(inner, outer, spacing_mm=(1, 1, 1))
    far = {2: 98 + 150, 5**0.5: 120, 6**0.5: 24, 8**0.5: 60, 3: 24, 12**0.5: 8}
    assert (row.hd_mm, row.centre_distance_mm) == pytest.approx((12**0.5, 0.0))
    assert row.hd95_mm == pytest.approx(3.0)  # rank 0.95 x 385 = 365.75; 354 are nearer than 3 mm
    assert row.assd_mm == pytest.approx(sum(mm * voxels for mm, voxels in far.items()) / 484)
    inside = 0
    for mm, voxels in far.items():
        assert nsd(inner, outer, mm - 1e-4, spacing_mm=(1, 1, 1)) == pytest.approx(inside / 484)
        inside += voxels
        assert nsd(inner, outer, mm, spacing_mm=(1, 1, 1)) == pytest.approx(inside / 484)


@pytest.mark.parametrize(("radius", "shift"), [(1, 1), (4, 1), (4, 3), (6, 9)])
def test_a_ball_shifted_along_x(radius: int, shift: int) -> None:
    """The foremost pole has no voxel of the other nearer than its pole, `shift` behind."""
    x, y, z = np.ogrid[-8:18, -7:8, -7:8]
    one, two = ((x - centre) ** 2 + y**2 + z**2 <= radius**2 for centre in (0, shift))
    row = compare(one, two, shift * 2.0)
    assert row.hd_mm == row.centre_distance_mm == pytest.approx(shift * 2.0)
    assert nsd(one, two, shift * 2.0 - 1e-3) < row.nsd == 1.0


@settings(max_examples=60, deadline=None)
@given(pairs_of_masks, st.tuples(*[st.integers(0, 3)] * 3))
def test_any_shape_shifted(masks: Masks, shift: tuple[int, int, int]) -> None:
    """Each surface voxel has its copy, by the shift away; the foremost has no voxel nearer."""
    one, two = np.zeros((2, 8, 7, 9), bool)
    one[:5, :4, :6] = two[shift[0] :, shift[1] :, shift[2] :][:5, :4, :6] = masks[0]
    length = float(np.linalg.norm(SHEARED[:3, :3] @ shift))
    row = compare(one, two, length, affine=SHEARED)
    assert (row.hd_mm, row.centre_distance_mm, row.nsd) == pytest.approx((length, length, 1.0))
    if length:
        assert nsd(one, two, length - 1e-3, affine=SHEARED) < 1.0


@settings(max_examples=60, deadline=None)
@given(pairs_of_masks, st.integers(0, 120), st.permutations(range(3)), scales)
def test_invariances(masks: Masks, tenths: int, axes: list[int], scale: float) -> None:
    """Tenths of a mm: no distance on this grid is nearly, and not quite, one of them."""
    row, swapped = compare(*masks, tenths / 10), compare(masks[1], masks[0], tenths / 10)
    spacing = [SPACING[axis] for axis in axes]
    one, two = (mask.transpose(axes)[::-1, :, ::-1] for mask in masks)
    turned = compare(one, two, tenths / 10, spacing_mm=spacing)
    scaled = compare(*masks, tenths / 10 * scale, spacing_mm=[mm * scale for mm in SPACING])
    for name in (*SYMMETRIC, "precision", "recall", "specificity"):
        wanted = pytest.approx(getattr(row, name), abs=1e-9)
        assert getattr(turned, name) == wanted, name
        assert getattr(scaled, name) / (scale if name in DISTANCES else 1) == wanted, name
        assert name not in SYMMETRIC or getattr(swapped, name) == wanted, name


@settings(max_examples=60, deadline=None)
@given(pairs_of_masks, st.floats(0.05, 9), st.floats(0, 9))
def test_the_definition(masks: Masks, tolerance_mm: float, more: float) -> None:
    row = compare(*masks, tolerance_mm, affine=SHEARED)
    wanted = by_definition(*masks, tolerance_mm)
    assert {name: getattr(row, name) for name in wanted} == pytest.approx(wanted, abs=1e-9)
    # Surface Dice grows with the tolerance, and is 1 from the Hausdorff distance on.
    assert 0 <= row.nsd <= nsd(*masks, tolerance_mm + more, affine=SHEARED) <= 1
    for mm in (row.hd_mm, row.hd_mm + more):
        assert nsd(*masks, mm, affine=SHEARED) == 1.0
    if row.hd_mm > 0:
        assert nsd(*masks, row.hd_mm * 0.999, affine=SHEARED) < 1.0


def test_specificity_of_a_larger_field_of_view() -> None:
    """8 and 6 of 24 voxels, 4 in both: 14 are in neither, 18 not in the reference."""
    one, two = np.zeros((2, 6, 2, 2), bool)
    one[0:2], two[1], two[2, 0] = True, True, True
    assert compare(one, two).specificity == pytest.approx(14 / 18)
    assert compare(one, two, voxels=1024).specificity == pytest.approx(1014 / 1018)
    wide = np.pad([one, two], ((0, 0), (3, 1), (0, 2), (4, 0)))
    assert compare(wide[0], wide[1]) == compare(one, two, voxels=wide[0].size)


@pytest.mark.parametrize("seed", range(3))
def test_centres_and_hausdorff_agree_with_simpleitk(seed: int) -> None:
    """Its Hausdorff filter takes all voxels, with 0 for those inside the other mask.

    So use a mask shifted: its foremost voxel is outside, and has the largest distance.
    """
    one, other = np.pad(blob(seed), 3), np.pad(blob(seed + 50), 3)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    images, centres = [], []
    for mask in (one, other, np.roll(one, (2, -1, 3), axis=(0, 1, 2))):
        images.append(sitk.GetImageFromArray(mask.T.astype(np.uint8)))
        images[-1].SetSpacing(SPACING)
        images[-1].SetDirection(affine[:3, :3].ravel())
        shape = sitk.LabelShapeStatisticsImageFilter()
        shape.Execute(images[-1])
        centres.append(np.array(shape.GetCentroid(1)))
    affine[:3, :3] *= SPACING
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(images[0], images[2])
    shifted = compare(one, np.roll(one, (2, -1, 3), axis=(0, 1, 2)), affine=affine)
    assert shifted.hd_mm == pytest.approx(hausdorff.GetHausdorffDistance(), rel=1e-5)
    apart = affine[:3, :3] @ np.subtract(*map(ndimage.center_of_mass, (one, other)))
    for distance in (np.linalg.norm(centres[0] - centres[1]), np.linalg.norm(apart)):
        assert compare(one, other, affine=affine).centre_distance_mm == pytest.approx(distance)


def agrees_with_monai(maps: Masks, spacing: Numbers, tolerances: Numbers) -> None:
    """Labels 1, 2, ... of the prediction and the reference, with a tolerance each."""
    labels = {str(value): value for value in range(1, len(tolerances) + 1)}
    measured = Measured(tolerances_mm=dict(zip(labels, tolerances, strict=True)))
    rows = case_metrics(*maps, labels=labels, spacing_mm=spacing, measured=measured)
    stacks = [np.stack([array == value for value in range(len(labels) + 1)]) for array in maps]
    one, two = (torch.from_numpy(stack)[None] for stack in stacks)
    matrix = monai_metrics.get_confusion_matrix(one.float(), two.float(), include_background=False)
    wanted = {
        "nsd": monai_metrics.compute_surface_dice(one, two, list(tolerances), spacing=spacing),
        "hd_mm": monai_metrics.compute_hausdorff_distance(one, two, spacing=spacing),
        "specificity": monai_metrics.compute_confusion_matrix_metric("specificity", matrix),
    }
    for name, (numbers,) in wanted.items():
        np.testing.assert_allclose([getattr(row, name) for row in rows], numbers, rtol=1e-5)
    assert all(0 < row.nsd < 1 for row in rows)


@pytest.mark.parametrize("seed", range(3))
def test_blobs_agree_with_monai(seed: int) -> None:
    one, two = (blob(number) + 2 * blob(number + 9) for number in (seed, seed + 50))
    agrees_with_monai((one, two), SPACING, (1.1, 3.3, 5.7))


@pytest.mark.parametrize("dataset", ["msd_hippocampus", "openkbp_head_neck"])
def test_real_labels_agree_with_monai(shared_data: Path, dataset: str) -> None:
    """A case's labels, and the same moved by one voxel along each axis."""
    image: Any = nib.load(sorted((shared_data / dataset / "labelsTr").glob("*.nii.gz"))[3])
    reference = np.rint(image.get_fdata()).astype(np.uint8)
    prediction = np.zeros_like(reference)
    prediction[1:, 1:, 1:] = reference[:-1, :-1, :-1]
    spacing = [float(mm) for mm in image.header.get_zooms()]
    tolerances = [0.93 * min(spacing)] * int(reference.max())
    agrees_with_monai((prediction, reference), spacing, tolerances)


BY_NAME = {"parotid": 2.85, "brainstem": 2.5, "mandible": 1.01, "spinal_cord": 2.93, "pancreas": 5}
BY_NAME |= {"liver": 7, "spleen": 3, "hippocampus": 1, "left_parotid": 2.85, "parotid_l": 2.85}
BY_NAME |= {"right_hippocampus": 1, "Parotid_R": 2.85, "Spinal Cord": 2.93, "Left Parotid": 2.85}
BY_NAME |= {"aorta": 3, "left_kidney": 3, "liver_tumour": 3, "left": 3, "right_l": 3, "": 3}
BY_NAME |= {"left_atrium": 4, "Left Atrium": 4}


@pytest.mark.parametrize("label", BY_NAME)
def test_tolerances(label: str) -> None:
    assert tolerance(label) == tolerance(label, {"another": 9.0}) == BY_NAME[label]
    assert tolerance(label, {label: 0.0}) == 0.0
    assert tolerance(label, {label: 4.5, "another": 9.0}) == 4.5


def test_a_row_names_its_tolerance() -> None:
    """Voxels 4 mm apart: within a spleen's given 4 mm, and not within a left parotid's 2.85 mm."""
    maps, labels = np.array([[[[1, 0, 2, 0]]], [[[0, 1, 0, 2]]]]), {"left_parotid": 1, "spleen": 2}
    measured = Measured(tolerances_mm={"spleen": 4.0})
    rows = case_metrics(*maps, labels=labels, spacing_mm=SPACING, measured=measured)
    assert [(row.tolerance_mm, row.nsd) for row in rows] == [(2.85, 0.0), (4.0, 1.0)]


def test_measured_of() -> None:
    names = ["background", "liver", "tumour", "cyst", "node"]
    tumour = {"tolerance_mm": 2, "lesions": True, "least_iou": 0.3}
    others = {"liver": {"tolerance_mm": 0, "lesions": False}, "cyst": {"lesions": True}}
    node = {"lesions": True, "least_iou": 1}
    measured = Measured.of({"tumour": tumour, "node": node} | others, names)
    assert measured.tolerances_mm == {"tumour": 2.0, "liver": 0.0}
    assert measured.lesions == {"tumour": 0.3, "cyst": 0.5, "node": 1.0}
    assert Measured.of(None, names) == Measured.of({}, names) == Measured()


WRONG: list[tuple[str, dict[str, Any]]] = [("tumour", {"tolerance": 2})]
WRONG += [("tumour", {"tolerance_mm": mm}) for mm in (-0.1, "2", True, math.nan, [2])]
WRONG += [("tumour", {"lesions": True, "least_iou": iou}) for iou in (-0.1, 1.1, "0.5", math.nan)]
WRONG += [(label, {"tolerance_mm": 2}) for label in ("background", "liver", "Tumour")]


@pytest.mark.parametrize(("label", "said"), WRONG)
def test_measured_of_what_cannot_be(label: str, said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"^measured:.*{label}"):
        Measured.of({label: said}, ["background", "tumour"])
