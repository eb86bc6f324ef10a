"""Surface distances against hand-computed shapes, brute force, and MONAI."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage
from scipy.spatial.distance import cdist

from gridgate.data.errors import ImageError
from gridgate.pipeline.evaluation.surfaces.distances import surface, surface_distances, voxel_axes

pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*")

SPACING = (0.7, 1.1, 2.5)


def blobs(seed: int, shape: tuple[int, int, int] = (14, 12, 9), level: float = 0.1) -> np.ndarray:
    """Smooth random blobs, some of which touch the border."""
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5) > level * 0.5


def test_one_voxel_each_is_their_distance() -> None:
    first, second = np.zeros((8, 8, 8), bool), np.zeros((8, 8, 8), bool)
    first[1, 1, 1] = True
    second[4, 5, 3] = True
    distances = surface_distances(first, second, spacing_mm=(1.0, 2.0, 3.0))
    expected = math.sqrt(3**2 + 8**2 + 6**2)
    assert distances.prediction_to_reference == pytest.approx([expected])
    assert distances.hausdorff(percentile=95) == pytest.approx(expected)
    assert distances.average() == pytest.approx(expected)


def test_two_parallel_plates() -> None:
    """Two plates of 4 x 4 voxels, 3 slices of 2.5 mm apart: every distance is 7.5 mm."""
    lower, upper = np.zeros((6, 6, 10), bool), np.zeros((6, 6, 10), bool)
    lower[1:5, 1:5, 2] = True
    upper[1:5, 1:5, 5] = True
    distances = surface_distances(lower, upper, spacing_mm=SPACING)
    assert distances.prediction_to_reference.shape == (16,)
    assert distances.hausdorff() == pytest.approx(7.5)
    assert distances.average() == pytest.approx(7.5)


def test_directions_differ_pooling_and_larger_percentile() -> None:
    """Predicted: voxels 0 and 10 of a line. Reference: voxel 0. Distances {0, 10} and {0}."""
    prediction, reference = np.zeros((11, 1, 1), bool), np.zeros((11, 1, 1), bool)
    prediction[[0, 10]] = True
    reference[0] = True
    distances = surface_distances(prediction, reference, spacing_mm=(1, 1, 1))
    assert sorted(distances.prediction_to_reference) == [0.0, 10.0]
    assert distances.reference_to_prediction.tolist() == [0.0]
    assert distances.average() == pytest.approx(
        10 / 3
    )  # the mean of the directed means would be 2.5
    assert distances.hausdorff(percentile=95) == pytest.approx(9.5)  # linear between 0 and 10
    swapped = surface_distances(reference, prediction, spacing_mm=(1, 1, 1))
    assert swapped.hausdorff(percentile=95) == pytest.approx(9.5)


def test_surface_of_a_cube_is_its_shell_and_the_border_counts_as_outside() -> None:
    cube = np.zeros((7, 7, 7), bool)
    cube[1:6, 1:6, 1:6] = True
    assert surface(cube).sum() == 5**3 - 3**3
    assert surface(np.ones((4, 4, 4), bool)).sum() == 4**3 - 2**3
    assert not surface(np.zeros((3, 3, 3), bool)).any()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7)),
    fill=st.floats(0.0, 1.0),
    fortran=st.booleans(),
)
def test_surface_is_mask_minus_scipys_erosion(
    seed: int, shape: tuple[int, int, int], fill: float, fortran: bool
) -> None:
    mask = np.random.default_rng(seed).random(shape) < fill
    mask = np.asfortranarray(mask) if fortran else mask
    before = mask.copy()
    np.testing.assert_array_equal(surface(mask), mask & ~ndimage.binary_erosion(mask))
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("seed", range(4))
def test_equals_brute_force_and_distance_transform(seed: int) -> None:
    first, second = blobs(seed), blobs(seed + 100)
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    every = cdist(*(np.argwhere(edge) * SPACING for edge in edges))
    distances = surface_distances(first, second, spacing_mm=SPACING)
    np.testing.assert_allclose(distances.prediction_to_reference, every.min(axis=1), rtol=1e-12)
    np.testing.assert_allclose(distances.reference_to_prediction, every.min(axis=0), rtol=1e-12)
    field = ndimage.distance_transform_edt(~edges[1], sampling=SPACING)
    np.testing.assert_allclose(distances.prediction_to_reference, field[edges[0]], rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_monai(seed: int) -> None:
    first, second = blobs(seed, level=0.05 * seed), blobs(seed + 50)
    one, two = torch.from_numpy(first)[None, None], torch.from_numpy(second)[None, None]
    distances = surface_distances(first, second, spacing_mm=SPACING)
    for percentile in (95.0, 100.0):
        expected = compute_hausdorff_distance(
            one, two, include_background=True, percentile=percentile, spacing=SPACING
        ).item()
        assert distances.hausdorff(percentile=percentile) == pytest.approx(expected, rel=1e-5)
    average = compute_average_surface_distance(
        one, two, include_background=True, symmetric=True, spacing=SPACING
    )
    assert distances.average() == pytest.approx(average.item(), rel=1e-5)


def test_cropping_changes_nothing() -> None:
    first, second = blobs(1), blobs(2)
    small = surface_distances(first, second, spacing_mm=SPACING)
    big = surface_distances(np.pad(first, 9), np.pad(second, 9), spacing_mm=SPACING)
    np.testing.assert_array_equal(small.prediction_to_reference, big.prediction_to_reference)
    np.testing.assert_array_equal(small.reference_to_prediction, big.reference_to_prediction)


def test_identical_masks_have_distance_zero() -> None:
    distances = surface_distances(blobs(3), blobs(3), spacing_mm=SPACING)
    assert distances.hausdorff() == 0.0
    assert distances.average() == 0.0


@pytest.mark.parametrize("which", ["prediction", "reference", "both"])
def test_an_empty_mask_has_no_distances(which: str) -> None:
    full, empty = blobs(0), np.zeros((14, 12, 9), bool)
    first, second = {
        "prediction": (empty, full),
        "reference": (full, empty),
        "both": (empty, empty),
    }[which]
    distances = surface_distances(first, second, spacing_mm=SPACING)
    assert distances.prediction_to_reference.size == distances.reference_to_prediction.size == 0
    assert math.isnan(distances.hausdorff(percentile=95))
    assert math.isnan(distances.average())


def test_an_oblique_flipped_affine_gives_what_its_spacing_gives() -> None:
    angle = math.radians(25)
    turn = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-SPACING[0], SPACING[1], -SPACING[2]])
    affine[:3, 3] = (10, -200, 35)
    by_affine = surface_distances(blobs(5), blobs(6), affine=affine)
    by_spacing = surface_distances(blobs(5), blobs(6), spacing_mm=SPACING)
    assert by_affine.hausdorff(percentile=95) == pytest.approx(
        by_spacing.hausdorff(percentile=95), rel=1e-12
    )
    assert by_affine.average() == pytest.approx(by_spacing.average(), rel=1e-12)


def test_a_sheared_affine_measures_between_physical_points() -> None:
    """One slice up is 2 mm along z and 1 mm along y; the step (0, 0, 3) is (0, 3, 6) mm."""
    affine = np.array([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    first, second = np.zeros((2, 2, 5), bool), np.zeros((2, 2, 5), bool)
    first[0, 0, 1] = second[0, 0, 4] = True
    assert surface_distances(first, second, affine=affine).average() == pytest.approx(math.sqrt(45))


def test_arguments_are_checked() -> None:
    with pytest.raises(ImageError, match=r"\(2, 2, 2\).*\(2, 2, 3\)"):
        surface_distances(
            np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool), spacing_mm=(1, 1, 1)
        )
    with pytest.raises(ValueError, match="either spacing_mm or affine"):
        voxel_axes()
    with pytest.raises(ValueError, match="either spacing_mm or affine"):
        voxel_axes(spacing_mm=(1, 1, 1), affine=np.eye(4))
    with pytest.raises(ValueError, match="three positive numbers"):
        voxel_axes(spacing_mm=(1, 0, 1))
    with pytest.raises(ValueError, match="span no volume"):
        voxel_axes(affine=np.diag([1.0, 1, 0, 1]))
    with pytest.raises(ValueError, match="not finite"):
        voxel_axes(spacing_mm=(1, math.inf, 1))
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        voxel_axes(affine=np.eye(2))
