"""Resampling, normalising and windows against what nnU-Net's own functions made (record.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from gridgate.data.errors import ConfigError
from gridgate.pipeline.inference.nnunet_windows import even_steps, gaussian
from gridgate.pipeline.inference.window_grid import WindowGrid
from gridgate.transforms.nnunet.normalising import channel_modes, normalised
from gridgate.transforms.nnunet.resampling import Resampling, nearest, new_shape, resample

NUMBERS = {"low": -180.0, "high": 320.0, "mean": 20.0, "std": 120.0}


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("recorded.npz")) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(("name", "order"), [("cubic", 3), ("linear", 1)])
def test_volumes_are_resampled_alike(
    recorded: dict[str, np.ndarray], number: int, name: str, order: int
) -> None:
    volume = torch.from_numpy(recorded[f"volume_{number}"])
    current, new = recorded[f"spacing_{number}"].tolist()
    how = Resampling(order=order)
    shape = new_shape(volume.shape[1:], current, new)
    made = resample(volume, shape, how=how, apart=how.separate_axis(current, new))
    np.testing.assert_allclose(made.numpy(), recorded[f"{name}_{number}"], atol=3e-6)


def test_cubic_splines_along_all_axes_are_those_of_scipy_in_one_step() -> None:
    noise = np.random.default_rng(1).normal(size=(1, 15, 9, 22))
    volume = torch.from_numpy(np.sign(noise)).float()  # of 1 and -1, so that splines overshoot
    made = resample(volume, (25, 14, 22), how=Resampling(), apart=None)[0].numpy()
    whole = ndimage.zoom(
        volume[0].numpy().astype(float),
        (25 / 15, 14 / 9, 1),
        order=3,
        mode="nearest",
        grid_mode=True,
    )
    low, high = float(volume.min()), float(volume.max())
    np.testing.assert_allclose(made, whole.clip(low, high), atol=3e-6)
    assert whole.max() > high or whole.min() < low  # so that the clip is tried


def test_which_axis_is_resampled_apart() -> None:
    rule = Resampling()
    assert rule.separate_axis((1.0, 4.0, 1.2), (1.0, 1.0, 1.0)) == 1
    assert rule.separate_axis((1.0, 1.0, 1.0), (1.0, 1.0, 3.5)) == 2  # the new spacing's
    assert rule.separate_axis((1.0, 3.0, 1.0), (1.0, 1.0, 1.0)) is None  # not more than 3
    assert rule.separate_axis((0.2, 1.2, 1.2), (1.0, 1.0, 1.0)) is None  # two long axes
    assert Resampling(separate_z=False).separate_axis((9.0, 1.0, 1.0), (1.0, 1.0, 1.0)) is None
    assert Resampling(separate_z=True).separate_axis((1.1, 1.0, 1.0), (1.0, 1.0, 1.0)) == 0


def test_sizes_half_way_are_rounded_to_even() -> None:
    assert new_shape((5, 7, 3), (1.0, 1.0, 1.0), (2.0, 2.0, 30.0)) == (2, 4, 1)


def test_the_nearest_voxel_is_that_of_scipy() -> None:
    for count, size in ((7, 3), (3, 7), (8, 4), (4, 8), (5, 5)):
        at = count / size * (np.arange(size) + 0.5) - 0.5
        found = ndimage.map_coordinates(
            np.arange(count, dtype=float), [at], order=0, mode="nearest"
        )
        assert nearest(count, size).tolist() == found.astype(int).tolist()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("ct", {"mode": "ct_zscore", **NUMBERS}),
        ("zscore", {"mode": "zscore"}),
        ("masked", {"mode": "zscore_nonzero"}),
        ("zero_to_one", {"mode": "zero_to_one"}),
    ],
)
def test_intensities_are_normalised_alike(
    recorded: dict[str, np.ndarray], name: str, mode: dict[str, object]
) -> None:
    image, mask = torch.from_numpy(recorded["image"]), torch.from_numpy(recorded["mask"])
    before = image.clone()
    made = normalised(image[None], channel_modes(mode, 1), mask)[0]
    np.testing.assert_allclose(made.numpy(), recorded[name], atol=2e-6)
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("intensity", "told"),
    [
        ({"mode": "window", "low": 0, "high": 1}, "unknown mode 'window'"),
        ({"mode": "ct_zscore", "low": 0}, "wants low, high, mean, std"),
        ({"mode": "per_channel", "channels": [{"mode": "none"}]}, "1 channels are described, 2"),
    ],
)
def test_other_intensities_are_refused(intensity: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        channel_modes(intensity, 2)


@pytest.mark.parametrize("number", range(2))
def test_windows_stand_where_nnunet_lays_them(recorded: dict[str, np.ndarray], number: int) -> None:
    shape, window = recorded[f"window_{number}"].tolist()
    steps = [recorded[f"steps_{number}_{axis}"].tolist() for axis in range(3)]
    assert [even_steps(*axis, 0.5) for axis in zip(shape, window, strict=True)] == steps
    grid = WindowGrid(shape, window, [0.5] * 3, as_nnunet=True)
    assert len(grid.starts) == np.prod([len(one) for one in steps])
    assert {start[0] for start in grid.starts} == set(steps[0])


@pytest.mark.parametrize("number", range(2))
def test_windows_are_weighted_by_its_gaussian(recorded: dict[str, np.ndarray], number: int) -> None:
    wanted = recorded[f"gaussian_{number}"]
    found = gaussian(wanted.shape, torch.device("cpu")).numpy()
    assert found.min() > 0 and found.max() == 1
    np.testing.assert_allclose(found * 10, wanted, rtol=1e-3)


def test_every_row_of_a_volume_is_finished_once() -> None:
    grid = WindowGrid((110, 64, 65), (64, 64, 64), [0.5] * 3, as_nnunet=True)
    layers = list(grid.layers(grid.starts))
    assert [layer.row for layer in layers] == [0, 23, 46]
    assert sum(layer.finished for layer in layers) == 110
