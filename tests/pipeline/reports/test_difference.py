"""The picture of what a mask and the truth differ in: colours at places that are known."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gridgate.pipeline.reports.pictures.difference import difference_figure
from gridgate.pipeline.reports.pictures.slices import View

LABELS = ["background", "liver", "spleen"]
SPACING = (1.0, 1.0, 2.0)


def scene() -> tuple[View, View, View]:
    """A liver of which a voxel towards the patient's right is missed, one towards the left made up.

    A view's first index grows to the right (RAS+), so the missed voxel has the larger one.
    """
    image = np.random.default_rng(0).normal(40, 10, (40, 40, 20))
    truth, prediction = np.zeros((40, 40, 20), np.uint8), np.zeros((40, 40, 20), np.uint8)
    truth[15:25, 15:25, 8:12] = 1
    prediction[15:25, 15:25, 8:12] = 1
    prediction[24, 19:21, 9:11] = 0
    prediction[14, 19:21, 9:11] = 1
    prediction[18, 18, 9:11] = 2
    return View(image, SPACING), View(prediction, SPACING), View(truth, SPACING)


def difference_of(figure: Figure, row: int) -> NDArray[np.float64]:
    """The coloured image of the last picture of a row."""
    axes = figure.axes[4 * row + 3]
    return np.asarray(axes.images[-1].get_array())


def columns_of(kinds: NDArray[np.float64], channel: int) -> NDArray[np.intp]:
    """The columns of a picture in which a colour (0 red, 2 blue) is the strongest and seen."""
    seen = (kinds[..., 3] > 0) & (kinds[..., :3].argmax(-1) == channel)
    return np.flatnonzero(seen.any(axis=0))


def test_missed_and_made_up_voxels_are_where_they_are() -> None:
    image, prediction, truth = scene()
    told = {"label": 1, "labels": LABELS, "name": "case", "note": "Dice 0.9"}
    figure = difference_figure(image, prediction, truth, **told)
    assert len(figure.axes) == 16  # four rows: three planes, and where it differs most
    kinds = difference_of(figure, 0)
    # patient's right is at the left: index 24 of 40 is column 15, index 14 column 25
    assert columns_of(kinds, 2).tolist() == [15]
    assert 25 in columns_of(kinds, 0).tolist()
    texts = " ".join(text.get_text() for text in figure.texts)
    assert "case: liver" in texts and "Dice 0.9" in texts and "another label" in texts


def test_a_mask_that_is_right_has_no_fourth_row_and_no_colour() -> None:
    image, _, truth = scene()
    figure = difference_figure(image, truth, truth, label=1, labels=LABELS, name="case")
    assert len(figure.axes) == 12
    assert not difference_of(figure, 0)[..., 3].any()


def test_a_label_that_is_nowhere_shows_the_others() -> None:
    image, prediction, truth = scene()
    nothing = View(np.zeros_like(truth.array), SPACING)
    figure = difference_figure(image, nothing, nothing, label=2, labels=LABELS, name="case")
    assert len(figure.axes) == 12
    figure = difference_figure(image, prediction, truth, label=2, labels=LABELS, name="case")
    assert len(figure.axes) == 16
