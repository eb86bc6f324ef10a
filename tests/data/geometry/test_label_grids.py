"""Label maps on other grids: nearest neighbours, boxes, and the grid that two maps share."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridgate.data.errors import ImageError
from gridgate.data.geometry.boxes import bounding_box
from gridgate.data.geometry.grids import Grid, voxel_map
from gridgate.data.geometry.label_grids import cut_padded, nearest_labels, on_shared_grid

RNG = np.random.default_rng(3)
AFFINE = np.array([[-0.8, 0, 0, 70.3], [0, -0.8, 0, 60.1], [0, 0, 2.5, -301.7], [0, 0, 0, 1]])


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def shifted(affine: np.ndarray, voxels: tuple[float, ...]) -> np.ndarray:
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ voxels
    return moved


def by_hand(labels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """One voxel after the other."""
    matrix = voxel_map(source, target)
    result = np.zeros(target.shape, labels.dtype)
    for index in np.ndindex(target.shape):
        at = np.floor(np.round(matrix[:3, :3] @ index + matrix[:3, 3], 3) + 0.5).astype(int)
        if (at >= 0).all() and (at < labels.shape).all():
            result[index] = labels[tuple(at)]
    return result


@pytest.mark.parametrize("degrees", [0, 20])
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_every_orientation_by_hand(degrees: float, axes: tuple[int, ...]) -> None:
    labels = RNG.integers(0, 5, (5, 6, 7)).astype(np.uint8)
    source = Grid((5, 6, 7), AFFINE)
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3)[list(axes)] * (1.0, -1.0, 1.0)
    target = Grid((8, 5, 6), shifted(turned(degrees) @ AFFINE @ turn, (1.3, -2.2, 0.6)))
    found = nearest_labels(labels, source, target)
    np.testing.assert_array_equal(found, by_hand(labels, source, target))
    assert found.dtype == np.uint8


def test_a_reoriented_array_is_moved_exactly() -> None:
    image = nib.Nifti1Image(RNG.integers(0, 9, (4, 5, 6)).astype(np.uint8), AFFINE)
    other = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    found = nearest_labels(
        np.asarray(other.dataobj), Grid(other.shape, other.affine), Grid((4, 5, 6), AFFINE)
    )
    np.testing.assert_array_equal(found, np.asarray(image.dataobj))


def test_nothing_in_common_is_background() -> None:
    labels = np.ones((3, 3, 3), np.uint8)
    far = Grid((4, 4, 4), shifted(AFFINE, (50, 0, 0)))
    assert not nearest_labels(labels, Grid((3, 3, 3), AFFINE), far).any()
    oblique = Grid((4, 4, 4), turned(30) @ shifted(AFFINE, (50, 0, 0)))
    assert not nearest_labels(labels, Grid((3, 3, 3), AFFINE), oblique).any()


def test_bounding_box_by_hand() -> None:
    one, other = np.zeros((6, 5, 4), np.uint8), np.zeros((6, 5, 4), bool)
    assert bounding_box(one, other) == (slice(0, 0),) * 3
    one[2, 3, 1] = 7
    other[4, 0, 1] = True
    assert bounding_box(one, other) == (slice(2, 5), slice(0, 4), slice(1, 2))


def test_cutting_beyond_the_array_pads_with_background() -> None:
    array = RNG.integers(1, 9, (4, 5, 6)).astype(np.uint8)
    found = cut_padded(array, (slice(-2, 3), slice(1, 9), slice(0, 6)))
    padded = np.pad(array, ((2, 5), (0, 5), (0, 0)))
    np.testing.assert_array_equal(found, padded[0:5, 1:9, 0:6])
    assert not cut_padded(array, (slice(9, 12), slice(0, 2), slice(0, 2))).any()


extents = st.lists(st.integers(-2, 3), min_size=6, max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99), ours=extents, theirs=extents, degrees=st.sampled_from([0.0, 0.0, 17.0])
)
def test_how_far_the_files_reach_does_not_matter(
    seed: int, ours: list[int], theirs: list[int], degrees: float
) -> None:
    """Padded (above 0) or cropped (below 0) on each side, both maps keep their place."""
    rng = np.random.default_rng(seed)
    maps = []
    for affine in (AFFINE, shifted(turned(degrees) @ AFFINE, (0.3, -1.2, 0.4))):
        array = np.zeros((8, 9, 10), np.uint8)
        array[2:6, 2:7, 2:8] = rng.integers(0, 3, (4, 5, 6))
        maps.append((array, Grid(array.shape, affine)))
    moved = []
    for (array, grid), sides in zip(maps, (ours, theirs), strict=True):
        box = tuple(
            slice(-sides[2 * axis], array.shape[axis] + sides[2 * axis + 1]) for axis in range(3)
        )
        affine = shifted(grid.affine, tuple(float(part.start) for part in box))
        cut = cut_padded(array, box)
        moved.append((cut, Grid(cut.shape, affine)))
    plain = on_shared_grid(*maps[0], *maps[1])
    other = on_shared_grid(*moved[0], *moved[1])
    np.testing.assert_array_equal(plain[0], other[0])
    np.testing.assert_array_equal(plain[1], other[1])
    np.testing.assert_allclose(plain[2], other[2], atol=1e-9)
    assert np.count_nonzero(plain[1]) == np.count_nonzero(maps[1][0])


def test_the_shared_grid_is_no_larger_than_the_labels_need() -> None:
    prediction, reference = np.zeros((60, 60, 60), np.uint8), np.zeros((60, 60, 60), np.uint8)
    prediction[10:12, 20, 30] = 1
    reference[14, 20:22, 30] = 1
    grid = Grid((60, 60, 60), AFFINE)
    one, two, affine = on_shared_grid(prediction, grid, reference, grid)
    assert one.shape == two.shape == (5, 2, 1)
    np.testing.assert_allclose(affine[:3, 3], (AFFINE @ (10, 20, 30, 1))[:3])
    nothing = on_shared_grid(prediction * 0, grid, reference * 0, grid)
    assert not nothing[0].any() and not nothing[1].any()


def test_a_label_map_too_fine_to_compare_is_refused() -> None:
    whole = np.ones((40, 40, 40), np.uint8)
    fine = Grid((2, 2, 2), np.diag([0.01, 0.01, 0.01, 1.0]))
    with pytest.raises(ImageError, match=r"0\.01.*too many to compare; resample"):
        on_shared_grid(whole, Grid((40, 40, 40), np.eye(4)), np.ones((2, 2, 2), np.uint8), fine)
