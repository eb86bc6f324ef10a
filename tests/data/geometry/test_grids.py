"""Geometry against hand-made numbers, nibabel, SimpleITK, and properties of any affine."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridgate.data.errors import ImageError
from gridgate.data.geometry.affines import (
    direction,
    is_oblique,
    is_orthonormal,
    orientation,
    spacing,
    why_unusable,
)
from gridgate.data.geometry.grids import Grid, corner_centres, same_grid, voxel_map

LPS_CT = np.array([[-0.8, 0, 0, 100], [0, -0.8, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])

finite = st.floats(-300, 300, allow_nan=False, width=32)
edge = st.floats(0.25, 12, allow_nan=False, width=32)
sizes = st.tuples(*[st.integers(1, 40)] * 3)


@st.composite
def rotations(draw: st.DrawFn) -> NDArray[np.float64]:
    quaternion = np.array(draw(st.tuples(*[st.floats(-1, 1, width=32)] * 4)))
    length = np.linalg.norm(quaternion)
    if length < 0.1:
        return np.eye(3)
    return nib.quaternions.quat2mat(quaternion / length)


@st.composite
def affines(draw: st.DrawFn, shear: bool = True) -> NDArray[np.float64]:
    """Any rotation, permutation, flip and spacing; shear up to a gantry tilt of 27 degrees."""
    axes = np.eye(3)[list(draw(st.permutations(range(3))))] * np.array(
        draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    )
    matrix = draw(rotations()) @ axes
    if shear:
        tilt = np.eye(3)
        tilt[1, 2] = draw(st.floats(-0.5, 0.5, width=32))
        matrix = matrix @ tilt
    affine = np.eye(4)
    affine[:3, :3] = matrix * np.array(draw(st.tuples(edge, edge, edge)))
    affine[:3, 3] = draw(st.tuples(finite, finite, finite))
    return affine


def test_a_ct_as_scanners_store_it() -> None:
    np.testing.assert_allclose(spacing(LPS_CT), [0.8, 0.8, 2.5])
    assert orientation(LPS_CT) == "LPS"
    np.testing.assert_allclose(direction(LPS_CT), np.diag([-1, -1, 1]))
    assert is_orthonormal(LPS_CT)
    assert not is_oblique(LPS_CT)
    grid = Grid((512, 512, 100), LPS_CT)
    assert grid.voxel_ml == pytest.approx(0.8 * 0.8 * 2.5 / 1000)
    assert (grid.orientation, grid.spacing.tolist()) == ("LPS", [0.8, 0.8, 2.5])


def test_gantry_tilt_is_shear_and_keeps_the_volume_of_a_voxel() -> None:
    tilted = LPS_CT.copy()
    tilted[1, 2] = 2.5 * np.tan(
        np.radians(15)
    )  # each slice moves along y, the slices stay parallel
    assert not is_orthonormal(tilted)
    assert is_oblique(tilted)
    assert Grid((2, 2, 2), tilted).voxel_ml == pytest.approx(0.0016)
    assert spacing(tilted)[2] == pytest.approx(2.5 / np.cos(np.radians(15)))


@pytest.mark.parametrize(("degrees", "oblique"), [(0.05, False), (0.2, True), (20.0, True)])
def test_oblique_is_an_angle(degrees: float, oblique: bool) -> None:
    turned = np.eye(4)
    turned[:3, :3] = nib.eulerangles.euler2mat(x=np.radians(degrees)) @ np.diag([1, 2, 3])
    assert is_oblique(turned) is oblique
    assert is_orthonormal(turned)


@given(affines())
def test_spacing_orientation_and_direction_agree_with_nibabel(affine: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(spacing(affine), nib.affines.voxel_sizes(affine))
    assert orientation(affine) == "".join(nib.aff2axcodes(affine))
    np.testing.assert_allclose(direction(affine) * spacing(affine), affine[:3, :3], atol=1e-12)


@given(affines(shear=False))
def test_rotations_and_flips_are_orthonormal(affine: NDArray[np.float64]) -> None:
    assert is_orthonormal(affine)
    assert why_unusable(affine) is None
    assert Grid((3, 4, 5), affine).voxel_ml == pytest.approx(np.prod(spacing(affine)) / 1000)


@given(affines(), sizes, st.tuples(*[st.floats(-5, 45, width=32)] * 3), affines())
def test_voxel_map_sends_a_point_where_it_is(
    source: NDArray[np.float64],
    shape: tuple[int, int, int],
    index: tuple[float, ...],
    target: NDArray[np.float64],
) -> None:
    a, b = Grid(shape, source), Grid((7, 8, 9), target)
    point = np.array([*index, 1.0])
    np.testing.assert_allclose(a.affine @ voxel_map(a, b) @ point, b.affine @ point, atol=1e-6)
    np.testing.assert_allclose(voxel_map(a, b) @ voxel_map(b, a), np.eye(4), atol=1e-6)
    np.testing.assert_array_equal(voxel_map(a, b)[3], [0, 0, 0, 1])


def test_voxel_map_of_a_crop_and_a_flip_by_hand() -> None:
    whole = Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    crop = whole.affine.copy()
    crop[:3, 3] = [6, 8, 10]  # begins at voxel 3 4 5
    np.testing.assert_allclose(voxel_map(whole, Grid((4, 4, 4), crop))[:3, 3], [3, 4, 5])
    flipped = np.diag([-2.0, 2.0, 2.0, 1.0])
    flipped[0, 3] = 18
    mapping = voxel_map(whole, Grid((10, 10, 10), flipped))
    np.testing.assert_allclose(mapping @ [0, 1, 2, 1], [9, 1, 2, 1])


@given(affines(), sizes)
def test_physical_points_agree_with_simpleitk(
    affine: NDArray[np.float64], shape: tuple[int, int, int]
) -> None:
    image = sitk.Image([2, 2, 2], sitk.sitkUInt8)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    image.SetSpacing(spacing(lps).tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(direction(lps).ravel().tolist())
    expected = [
        image.TransformContinuousIndexToPhysicalPoint(
            [float(i * (n - 1)) for i, n in zip(corner, shape, strict=True)]
        )
        for corner in np.ndindex(2, 2, 2)
    ]
    np.testing.assert_allclose(Grid(shape, affine).corners() * [-1, -1, 1], expected, atol=1e-6)


@given(affines(), sizes)
def test_same_grid_measures_the_farthest_corner(
    affine: NDArray[np.float64], shape: tuple[int, int, int]
) -> None:
    grid = Grid(shape, affine)
    assert same_grid(grid, Grid(shape, affine.copy()))
    moved = affine.copy()
    moved[:3, 3] += [0.006, 0.006, 0.006]  # 0.0104 mm
    assert not same_grid(grid, Grid(shape, moved))
    assert same_grid(grid, Grid(shape, moved), tolerance_mm=0.011)
    assert not same_grid(grid, Grid((shape[0] + 1, *shape[1:]), affine))


def test_same_grid_sees_a_flip_whose_origin_is_right() -> None:
    a = Grid((5, 5, 5), np.eye(4))
    assert not same_grid(a, Grid((5, 5, 5), np.diag([-1.0, 1.0, 1.0, 1.0])))


def test_same_grid_sees_a_spacing_that_adds_up() -> None:
    longer = np.diag([1.0, 1.0, 1.0001, 1.0])
    assert same_grid(Grid((9, 9, 90), np.eye(4)), Grid((9, 9, 90), longer))
    assert not same_grid(Grid((9, 9, 900), np.eye(4)), Grid((9, 9, 900), longer))


@pytest.mark.parametrize(
    ("affine", "reason"),
    [
        (np.diag([1.0, 0.0, 1.0, 1.0]), "no length"),
        (np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "in one plane"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), "NaN"),
        (np.diag([1.0, np.inf, 1.0, 1.0]), "infinity"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "last row"),
        (np.eye(3), "4 x 4"),
    ],
)
def test_an_unusable_affine_is_refused_with_the_reason(
    affine: NDArray[np.float64], reason: str
) -> None:
    assert reason in str(why_unusable(affine))
    with pytest.raises(ImageError, match=reason):
        Grid((2, 2, 2), affine)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 0), (2, 2, 2, 2), (2, -1, 2)])
def test_a_shape_that_is_no_volume_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="three positive sizes"):
        Grid(shape, np.eye(4))  # type: ignore[arg-type]


def test_a_singular_affine_has_no_orientation() -> None:
    with pytest.raises(ImageError, match="singular"):
        orientation(np.diag([1.0, 1.0, 0.0, 1.0]))


def test_a_grid_keeps_its_own_copy() -> None:
    affine = np.eye(4, dtype=np.float32)
    grid = Grid((np.int64(2), 2, 2), affine)  # type: ignore[arg-type]
    affine[0, 0] = 5
    assert grid.affine.dtype == np.float64
    assert grid.affine[0, 0] == 1
    assert all(type(size) is int for size in grid.shape)


def test_corners_of_one_voxel_are_one_point() -> None:
    assert np.unique(corner_centres((1, 1, 1), LPS_CT), axis=0).tolist() == [[100, 90, -300]]
