"""Attention coefficients while a network learns: checkpoint beside checkpoint, over one slice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ...models.attention import Attention
from .figures import BACK, TEXT, fill, grey, letters, literal
from .grey_window import grey_window
from .slices import View, telling_slice

_INCHES = 1.9
_HEAD = 0.34


def attention_epochs_figure(found: Mapping[str, Attention], *, name: str) -> Figure:
    """As the Attention U-Net paper's figure: a column is a checkpoint, a row a skip connection.

    The first row has the scan and the checkpoint's own segmentation, the others the mean of a
    skip's gates. A row has one colour range, from its lowest coefficient to its highest, so that
    its pictures can be compared; the slice is the one in which the last checkpoint marks most.

    Args:
        found: checkpoint's name -> its coefficients of one scan, in the order of the training.
        name: of the case.
    """
    last = list(found.values())[-1]
    index = telling_slice(View.of(last.labels, last.affine), "axial")
    image = View.of(last.image, last.affine)
    window = grey_window(last.image, ct=False)
    wide, deep = image.extent_mm("axial")
    rows, columns = 1 + len(last.coefficients), len(found)
    high = _INCHES * deep / wide
    figure = Figure(figsize=(columns * _INCHES, rows * high + _HEAD), facecolor=BACK)
    top = rows * high / (rows * high + _HEAD)
    place = {"wspace": 0.02, "hspace": 0.03, "left": 0, "right": 1, "bottom": 0, "top": top}
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=place)
    for axes in grid.ravel():
        axes.axis("off")
    for axes, (checkpoint, one) in zip(grid[0], found.items(), strict=True):
        grey(axes, image, "axial", index, window)
        fill(axes, View.of(one.labels, one.affine), "axial", index, alpha=0.55)
        letters(axes, "axial", title=checkpoint)
    for row, gate in zip(grid[1:], last.coefficients, strict=True):
        cuts = [
            np.asarray(
                View.of(one.coefficients[gate].mean(axis=0), one.affine).picture("axial", index)
            )
            for one in found.values()
        ]
        low, high_ = min(cut.min() for cut in cuts), max(cut.max() for cut in cuts)
        for axes, cut in zip(row, cuts, strict=True):
            grey(axes, image, "axial", index, window)
            axes.imshow(
                cut,
                cmap="inferno",
                vmin=low,
                vmax=high_,
                alpha=0.62,
                extent=(0, wide, deep, 0),
                interpolation="bilinear",
            )
            letters(axes, "axial", title=f"{gate}: {low:.2f} to {high_:.2f}")
    figure.text(0.01, 0.985, literal(name), color=TEXT, fontsize=11, weight="bold", va="top")
    return figure
