"""Pictures: sides of the patient where a radiologist looks for them, proportions, colours."""

import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from gridgate.data.phantom.phantom import PHANTOM_LABELS, make_phantom
from gridgate.pipeline.reports.pictures.curves import dice_figure, folds_figure, loss_figure
from gridgate.pipeline.reports.pictures.figures import case_figure, png
from gridgate.pipeline.reports.pictures.labels import label_colour
from gridgate.pipeline.reports.pictures.slices import PLANES, View, telling_slice


def landmark_volume(
    axcodes: str, where: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """20 x 30 x 40 voxels as axcodes; one of them is 1, at shares of the way in R, A, S."""
    array = np.zeros((20, 30, 40), dtype=np.uint8)
    i, j, k = (int(share * (size - 1)) for share, size in zip(where, array.shape, strict=True))
    array[i, j, k] = 1
    image = nib.Nifti1Image(array, np.diag([2.0, 3.0, 5.0, 1.0]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axcodes)
    )
    stored = image.as_reoriented(turn)
    assert "".join(nib.aff2axcodes(stored.affine)) == axcodes
    return np.asarray(stored.dataobj), stored.affine


def place(picture: np.ndarray) -> tuple[float, float]:
    """(from the left, from the top) of the one labelled pixel, in 0..1."""
    ((row, column),) = np.argwhere(picture)
    return column / (picture.shape[1] - 1), row / (picture.shape[0] - 1)


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "LAS", "PIR", "SAL", "ILP"])
def test_patient_is_seen_as_a_radiologist_sees_him(axcodes: str) -> None:
    # far to the patient's right, well in front, and high
    array, affine = landmark_volume(axcodes, (1.0, 0.8, 0.9))
    view = View.of(array, affine)
    assert view.spacing_mm == pytest.approx((2, 3, 5))
    axial = place(view.picture("axial", telling_slice(view, "axial")))
    assert axial[0] == 0.0 and axial[1] < 0.25
    coronal = place(view.picture("coronal", telling_slice(view, "coronal")))
    assert coronal[0] == 0.0 and coronal[1] < 0.15
    sagittal = place(view.picture("sagittal", telling_slice(view, "sagittal")))
    assert sagittal[0] < 0.25 and sagittal[1] < 0.15


@pytest.mark.parametrize("axcodes", ["LPS", "PIR"])
def test_axial_picture_is_what_simpleitk_shows_of_an_lps_volume(
    axcodes: str, tmp_path: Path
) -> None:
    """An LPS array's slice, first row on top, is the axial view: another way to the same pixels."""
    phantom = make_phantom(3, shape=(40, 36, 20), orientation=axcodes)
    path = tmp_path / "phantom.nii.gz"
    nib.save(nib.Nifti1Image(phantom.image.astype(np.int16), phantom.grid.affine), path)
    lps = sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS"))
    view = View.of(phantom.image.astype(np.int16), phantom.grid.affine)
    for index in (0, 7, lps.shape[0] - 1):
        np.testing.assert_array_equal(view.picture("axial", index), lps[index])
    np.testing.assert_array_equal(view.picture("coronal", lps.shape[1] - 1), lps[::-1, 0, :])


def test_extent_is_in_mm_for_each_plane() -> None:
    array, affine = landmark_volume("PIR", (0.5, 0.5, 0.5))
    extents = {plane: View.of(array, affine).extent_mm(plane) for plane in PLANES}
    assert extents == {"axial": (40, 90), "coronal": (40, 200), "sagittal": (90, 200)}


def test_telling_slice_prefers_many_labels_to_one_large_one() -> None:
    labels = np.zeros((10, 10, 10), dtype=np.uint8)
    labels[:, :, 2] = 1
    labels[0:8, :, 7] = 1
    labels[9, 0:2, 7] = 2
    assert telling_slice(View.of(labels, np.eye(4)), "axial") == 7
    assert telling_slice(View.of(labels * 0, np.eye(4)), "axial") == 5


def test_case_figure_shows_organs_in_their_colours_and_sides() -> None:
    shape = (60, 60, 60)
    image = View.of(np.full(shape, -160.0, dtype=np.float32), np.eye(4))
    right = np.zeros(shape, dtype=np.uint8)
    right[40:55, 20:40, 20:40] = 1  # the patient's right: RAS index grows to the right
    truth = np.zeros(shape, dtype=np.uint8)
    truth[5:20, 20:40, 20:40] = 2
    figure = case_figure(
        image,
        View.of(right, np.eye(4)),
        truth=View.of(truth, np.eye(4)),
        labels=["b", "one", "two"],
        name="x",
    )
    pixels = imread(io.BytesIO(png(figure)))[..., :3]
    side = 60 / 126  # three panels of 60 mm with a gap of 6
    axial = pixels[: int(side * pixels.shape[0]), : int(side * pixels.shape[1])]
    left, other = np.array_split(axial, 2, axis=1)
    filled = 0.45 * np.array(to_rgb(label_colour(1)))
    assert np.isclose(left, filled, atol=0.02).all(axis=2).mean() > 0.1
    assert not np.isclose(other, filled, atol=0.02).all(axis=2).any()
    outlined = np.isclose(other, to_rgb(label_colour(2)), atol=0.05).all(axis=2)
    assert 0 < outlined.mean() < 0.05


def test_case_figure_takes_any_number_of_labels_and_a_flat_volume() -> None:
    labels = ["background", *(f"organ_{number}" for number in range(1, 26))]
    array = (np.arange(30 * 20 * 3) % 26).reshape(30, 20, 3).astype(np.uint8)
    affine = np.diag([1.0, 1.0, 8.0, 1.0])
    view = View.of(array, affine)
    content = png(
        case_figure(View.of(array * 10.0, affine), view, truth=view, labels=labels, name="flat")
    )
    assert content.startswith(b"\x89PNG")


def test_curves_follow_the_table() -> None:
    rows = [
        {
            "epoch": str(n),
            "iteration": str(10 * n),
            "loss": str(2 - n / 10),
            "dice_mean": "nan",
            "dice_liver": str(n / 10),
        }
        for n in range(1, 4)
    ]
    (line,) = loss_figure(rows).axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[10, 1.9], [20, 1.8], [30, 1.7]])
    figure = dice_figure(rows, dark=True)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [
        "liver",
        "mean",
    ]
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [0.1, 0.2, 0.3])


def test_organs_of_the_phantom_have_colours_of_their_own() -> None:
    assert len({label_colour(value) for value in PHANTOM_LABELS.values() if value}) == 6


@pytest.mark.parametrize(
    ("losses", "bottom", "top"), [([2.0, 1.0], 0, 1), ([0.5, -0.4], -1, 0), ([-0.2, -0.9], -1, 0)]
)
def test_a_negative_loss_is_within_its_axes(losses: list[float], bottom: int, top: int) -> None:
    rows = [{"iteration": str(n), "loss": str(loss)} for n, loss in enumerate([*losses, "nan"])]
    for figure in (loss_figure(rows), folds_figure([rows], "loss", "Loss")):
        low, high = figure.axes[0].get_ylim()
        assert low < high and low <= min(*losses, 0) and high >= max(*losses, 0)
        assert low >= 1.2 * bottom and high >= top * max(losses)
