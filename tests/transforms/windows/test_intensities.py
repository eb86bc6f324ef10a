"""Each change of intensities gives what MONAI's transform of the same parameters gives."""

from collections.abc import Callable

import pytest
import torch
from monai.transforms import (
    AdjustContrast,
    GaussianSmooth,
    RandSimulateLowResolution,
    ScaleIntensity,
    ScaleIntensityFixedMean,
    ShiftIntensity,
)

from gridgate.transforms.windows import intensities
from gridgate.transforms.windows.draws import IntensityDraw
from gridgate.transforms.windows.intensities import change_intensities
from gridgate.transforms.windows.noise import gaussian_noise


def window(channels: int = 1, size: tuple[int, int, int] = (14, 17, 12)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    smooth = torch.rand(channels, *size, generator=generator)
    smooth[:, 3:9, 4:12, 2:8] += 1.5  # an edge
    return smooth - 0.4


def low_resolution(zoom: float) -> Callable[[torch.Tensor], torch.Tensor]:
    transform = RandSimulateLowResolution(prob=1.0)
    transform._do_transform, transform.zoom_factor = True, zoom
    return lambda image: transform(image, randomize=False)


CASES = {
    "blur": (IntensityDraw(blur=(0.5, 0.83, 1.0)), GaussianSmooth((0.5, 0.83, 1.0))),
    "brightness": (IntensityDraw(brightness=1.2), ScaleIntensity(None, None, factor=0.2)),
    "shift": (IntensityDraw(shift=-0.07), ShiftIntensity(-0.07)),
    "more contrast": (
        IntensityDraw(contrast=1.25),
        ScaleIntensityFixedMean(0.25, preserve_range=True),
    ),
    "less contrast": (
        IntensityDraw(contrast=0.75),
        ScaleIntensityFixedMean(-0.25, preserve_range=True),
    ),
    "half the resolution": (IntensityDraw(zoom=0.5), low_resolution(0.5)),
    "some resolution": (IntensityDraw(zoom=0.77), low_resolution(0.77)),
    "whole resolution": (IntensityDraw(zoom=1.0), low_resolution(1.0)),
    "gamma": (IntensityDraw(gamma=0.7), AdjustContrast(0.7, retain_stats=True)),
    "inverted gamma": (
        IntensityDraw(inverted_gamma=1.5),
        AdjustContrast(1.5, invert_image=True, retain_stats=True),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_what_monai_makes(name: str, channels: int) -> None:
    draw, transform = CASES[name]
    expected = torch.as_tensor(transform(window(channels)))
    found = change_intensities(window(channels), draw)
    assert type(found) is torch.Tensor and found.dtype == torch.float32
    torch.testing.assert_close(found, expected.as_subclass(torch.Tensor), rtol=1e-5, atol=2e-6)
    if name != "whole resolution":
        assert not torch.allclose(found, window(channels), atol=1e-3)


def test_noise_has_its_std_and_its_seed() -> None:
    draw = IntensityDraw(noise=0.05, noise_seed=11)
    added = change_intensities(window(), draw) - window()
    expected = 0.05 * gaussian_noise(window().shape, 11, torch.device("cpu"))
    torch.testing.assert_close(added, expected, rtol=0, atol=1e-6)
    assert float(added.std()) == pytest.approx(0.05, rel=0.05)


def test_all_changes_are_made_in_order() -> None:
    draw = IntensityDraw(0.1, 5, (0.6, 0.7, 0.8), 1.1, 0.05, 0.8, 0.6, 1.3, 0.8)
    one_by_one = window()
    for part in (
        IntensityDraw(noise=0.1, noise_seed=5),
        IntensityDraw(blur=(0.6, 0.7, 0.8)),
        IntensityDraw(brightness=1.1),
        IntensityDraw(shift=0.05),
        IntensityDraw(contrast=0.8),
        IntensityDraw(zoom=0.6),
        IntensityDraw(inverted_gamma=1.3),
        IntensityDraw(gamma=0.8),
    ):
        one_by_one = change_intensities(one_by_one, part)
    assert torch.equal(change_intensities(window(), draw), one_by_one)


def test_a_window_of_one_value_stays_finite_and_as_it_is() -> None:
    flat = torch.full((1, 5, 6, 7), 0.3)
    for draw in (IntensityDraw(gamma=0.7), IntensityDraw(inverted_gamma=1.4, contrast=1.2)):
        torch.testing.assert_close(change_intensities(flat.clone(), draw), flat)


def test_a_kernel_longer_than_the_window_is_monais_too() -> None:
    thin = window(size=(2, 9, 2))
    expected = GaussianSmooth((1.0, 0.9, 1.0))(thin.clone()).as_subclass(torch.Tensor)
    torch.testing.assert_close(intensities.blurred(thin, (1.0, 0.9, 1.0)), expected)
