"""Label maps elsewhere than their images: what is told apart from the two grids."""

import re

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.geometry.grids import Grid
from gridgate.data.geometry.placement import centre_mm, why_elsewhere

# the grid of shared/data/reports
IMAGE = Grid((36, 32, 24), [[-4, 0, 0, 70], [0, -4, 0, 60], [0, 0, 2.5, -300], [0, 0, 0, 1]])


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


OBLIQUE = Grid((36, 32, 24), rotation(20) @ IMAGE.affine)


def cut(grid: Grid, low: tuple[int, ...], shape: tuple[int, int, int]) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(grid.affine, low)
    return Grid(shape, affine)


def moved(grid: Grid, x: float, y: float, z: float) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += (x, y, z)
    return Grid(grid.shape, affine)


def stored_otherwise(grid: Grid) -> Grid:
    image = nib.Nifti1Image(np.zeros(grid.shape, np.uint8), grid.affine)
    other = image.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    return Grid(other.shape, other.affine)


@pytest.mark.parametrize("image", [IMAGE, OBLIQUE])
@pytest.mark.parametrize(
    "change",
    [
        lambda grid: grid,
        lambda grid: cut(grid, (20, 10, 5), (4, 5, 6)),  # cropped to its extent
        lambda grid: cut(grid, (35, 31, 23), (1, 1, 1)),
        lambda grid: cut(grid, (0, 0, 0), (36, 32, 23)),  # one slice less
        lambda grid: cut(grid, (-5, -5, -5), (60, 60, 60)),  # padded
        lambda grid: cut(grid, (10, -5, 3), (10, 60, 9)),
        lambda grid: stored_otherwise(grid),
        lambda grid: stored_otherwise(cut(grid, (20, 10, 5), (4, 5, 6))),
        lambda grid: moved(grid, *(grid.affine[:3, :3] @ (0.45, -0.4, 0.48))),  # < half a voxel
        lambda grid: moved(grid, 1e-5, 0, 0),
        lambda grid: Grid((36, 32, 48), grid.affine @ np.diag([1, 1, 0.5, 1])),
        lambda grid: Grid(
            (60, 50, 60), cut(grid, (-2, -2, 0), (1, 1, 1)).affine @ np.diag([0.7, 0.7, 0.4, 1])
        ),
        lambda grid: Grid((30, 30, 9), rotation(8) @ cut(grid, (3, 1, 5), (1, 1, 1)).affine),
    ],
)
def test_label_maps_that_lie_on_their_image(image: Grid, change) -> None:  # type: ignore[no-untyped-def]
    assert why_elsewhere(image, change(image)) is None


def test_unit_voxels_at_the_origin_are_a_grid_like_any_other() -> None:
    image = Grid((20, 20, 20), np.diag([1.0, 1.0, 1.0, 1.0]))
    assert why_elsewhere(cut(image, (-4, -4, -4), (30, 30, 30)), image) is None
    assert why_elsewhere(image, cut(image, (4, 4, 4), (5, 6, 7))) is None
    assert why_elsewhere(Grid((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0])), image) is None


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (
            moved(IMAGE, 400, 300, 900),
            r"centres are 1029\.6 mm apart.*nothing in common.*another origin",
        ),
        (moved(IMAGE, 0, 0, 30), r"centres are 30\.0 mm apart.*overlap by 50%.*another origin"),
        (moved(IMAGE, 0, 4, 0), r"centres are 4\.0 mm apart.*another origin"),
        (Grid(IMAGE.shape, np.eye(4)), "saved without the image's geometry.*identity"),
        (Grid(IMAGE.shape, np.diag([-1.0, -1, 1, 1])), "saved without the image's geometry"),
        (Grid((10, 10, 10), np.eye(4)), "saved without the image's geometry"),
        (Grid(IMAGE.shape, np.diag([-1, -1, 1, 1]) @ IMAGE.affine), "mirrored.*x and y.*LPS"),
        (Grid(IMAGE.shape, np.diag([1, 1, -1, 1]) @ IMAGE.affine), "mirrored.*along z"),
        (Grid((24, 32, 36), IMAGE.affine), "transposed axes"),
        (Grid((32, 36, 24), IMAGE.affine), "transposed axes"),
        (Grid(IMAGE.shape, IMAGE.affine @ np.diag([1, 1, 2, 1])), "other voxel sizes"),
        (
            Grid(IMAGE.shape, rotation(10) @ IMAGE.affine),
            r"corners up to 1\d\.\d mm.*turned by 10\.0 degrees",
        ),
        (cut(IMAGE, (100, 0, 0), (30, 31, 20)), "nothing in common.*label map of another scan"),
        (cut(IMAGE, (0, 0, 18), (36, 32, 20)), "overlap by 30%.*label map of another scan"),
    ],
)
def test_label_maps_elsewhere_and_why(label: Grid, said: str) -> None:
    found = why_elsewhere(IMAGE, label)
    assert found is not None
    assert re.search(said, found), found


def test_an_image_without_geometry_is_told_from_a_label_without() -> None:
    found = why_elsewhere(Grid(IMAGE.shape, np.eye(4)), IMAGE)
    assert found is not None and "the image was saved without its geometry" in found


def test_the_distance_is_that_of_the_centres() -> None:
    np.testing.assert_allclose(centre_mm(IMAGE), (70 - 4 * 17.5, 60 - 4 * 15.5, -300 + 2.5 * 11.5))
