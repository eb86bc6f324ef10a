import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from gridgate.data.errors import ConfigError
from gridgate.transforms import intensity_transforms


def _apply(intensity: dict, array: np.ndarray) -> np.ndarray:
    image = MetaTensor(torch.from_numpy(array.copy()), affine=torch.eye(4))
    result = Compose(intensity_transforms(intensity))({"image": image})["image"]
    assert isinstance(result, MetaTensor) and result.dtype == torch.float32
    np.testing.assert_array_equal(image.numpy(), array)
    return result.numpy()


ARRAY = np.random.default_rng(0).normal(50, 400, (2, 5, 6, 7)).astype(np.float32)


def test_each_mode_by_its_formula() -> None:
    clipped = np.clip(ARRAY, -160, 240)
    window = _apply({"mode": "window", "low": -160, "high": 240}, ARRAY)
    np.testing.assert_allclose(window, (clipped + 160) / 400, atol=1e-6)
    ct = _apply({"mode": "ct_zscore", "low": -160, "high": 240, "mean": 40, "std": 80}, ARRAY)
    np.testing.assert_allclose(ct, (clipped - 40) / 80, atol=1e-5)
    expected = (ARRAY - ARRAY.mean((1, 2, 3), keepdims=True)) / ARRAY.std((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(_apply({"mode": "zscore"}, ARRAY), expected, atol=1e-4)


def test_a_constant_image_is_no_division_by_zero() -> None:
    assert (_apply({"mode": "zscore"}, np.full((1, 3, 3, 3), 7, np.float32)) == 0).all()


@pytest.mark.parametrize(
    ("intensity", "text"),
    [
        ({}, "unknown mode None"),
        ({"mode": "ct"}, "unknown mode 'ct'.*window.*ct_zscore.*zscore"),
        ({"mode": "window", "low": 0}, "lacks high"),
        ({"mode": "ct_zscore", "low": 0, "high": 1, "mean": 0}, "lacks std"),
        ({"mode": "window", "low": 0, "high": 1, "hihg": 2}, "does not know hihg"),
        ({"mode": "window", "low": 1, "high": 1}, "low < high"),
        ({"mode": "ct_zscore", "low": 0, "high": 1, "mean": 0, "std": 0}, "std > 0"),
        ({"mode": "window", "low": "a", "high": 1}, "numbers"),
    ],
)
def test_wrong_settings_are_named(intensity: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        intensity_transforms(intensity)


def test_each_channel_has_its_own() -> None:
    array = np.stack([np.linspace(-500, 500, 64), np.linspace(3, 9, 64)]).reshape(2, 4, 4, 4)
    window = {"mode": "window", "low": -100, "high": 100}
    before = array.copy()
    found = _apply({"mode": "per_channel", "channels": [window, {"mode": "zscore"}]}, array)
    np.testing.assert_allclose(found[0], (np.clip(array[0], -100, 100) + 100) / 200, atol=1e-6)
    np.testing.assert_allclose(
        found[1], (array[1] - array[1].mean()) / array[1].std(), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(array, before)
    with pytest.raises(ConfigError, match="1 channels are described, the image has 2"):
        (transform,) = intensity_transforms({"mode": "per_channel", "channels": [window]})
        transform({"image": torch.from_numpy(array)})


@pytest.mark.parametrize(
    "intensity",
    [
        {"mode": "per_channel"},
        {"mode": "per_channel", "channels": []},
        {"mode": "per_channel", "channels": ["zscore"]},
        {"mode": "per_channel", "channels": [{"mode": "per_channel", "channels": []}]},
        {"mode": "per_channel", "channels": [{"mode": "zscore"}], "low": 3},
    ],
)
def test_channels_that_are_none_are_refused(intensity: dict) -> None:
    with pytest.raises(ConfigError, match="a list with a mode for each channel"):
        intensity_transforms(intensity)
