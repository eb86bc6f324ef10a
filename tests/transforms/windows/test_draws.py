"""What is drawn: within its limits, as often as it should be, from the seed alone."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from gridgate.transforms import augmentation
from gridgate.transforms.windows.draws import IntensityDraw, drawn_intensity, drawn_start, turning
from gridgate.transforms.windows.intensities import blurred
from gridgate.transforms.windows.random_window import RandomWindowd

# probability, lowest and highest of nnU-Net's changes, as MONAI's transforms were given them
CHANGES = {
    "noise": (0.1, 0.0, 0.1),
    "blur": (0.2, 0.5, 1.0),
    "brightness": (0.15, 0.75, 1.25),
    "shift": (0.15, -0.1, 0.1),
    "contrast": (0.15, 0.75, 1.25),
    "zoom": (0.25, 0.5, 1.0),
    "inverted_gamma": (0.1, 0.7, 1.5),
    "gamma": (0.3, 0.7, 1.5),
}


def test_each_change_is_as_often_and_as_strong_as_it_should_be() -> None:
    random = np.random.default_rng(0)
    draws = [drawn_intensity(random) for _ in range(6000)]
    for name, (probability, low, high) in CHANGES.items():
        found = [value for draw in draws if (value := getattr(draw, name)) is not None]
        assert len(found) / 6000 == pytest.approx(probability, abs=0.025), name
        values = np.array(found)
        assert low <= values.min() < low + 0.05 * (high - low), name
        assert high - 0.05 * (high - low) < values.max() <= high, name
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.05 * (high - low)), name
    blurs = np.array([draw.blur for draw in draws if draw.blur is not None])
    assert blurs.shape[1] == 3 and abs(np.corrcoef(blurs.T)[0, 1]) < 0.1  # each axis has its own
    together = sum(draw.noise is not None and draw.gamma is not None for draw in draws) / 6000
    assert together == pytest.approx(0.03, abs=0.01)  # independent of each other
    assert len({draw.noise_seed for draw in draws}) == 6000


def test_a_seed_is_a_draw_and_draws_follow_each_other() -> None:
    item = {"image": torch.rand(1, 30, 30, 30), "label": torch.zeros(1, 30, 30, 30)}
    one, other = (augmentation(roi_size=(8, 9, 10), label_count=2) for _ in range(2))
    first = [one.set_random_state(5).draw(item), one.draw(item), one.draw(item)]
    again = [other.set_random_state(5).draw(item), other.draw(item), other.draw(item)]
    assert first == again and len(set(first)) == 3
    assert one.set_random_state(6).draw(item) != first[0]
    state = np.random.RandomState(1), np.random.RandomState(1)  # as MONAI's Compose may have it
    assert one.set_random_state(state=state[0]).draw(item) == other.set_random_state(
        state=state[1]
    ).draw(item)


def test_a_draw_needs_no_voxel() -> None:
    transform = augmentation(roi_size=(8, 9, 10), label_count=2).set_random_state(0)
    real = {"image": torch.rand(1, 30, 30, 30), "label": torch.zeros(1, 30, 30, 30)}
    empty = {name: torch.empty(1, 30, 30, 30, device="meta") for name in ("image", "label")}
    wanted = [transform.draw(real) for _ in range(20)]
    transform.set_random_state(0)
    assert [transform.draw(empty) for _ in range(20)] == wanted


def test_without_intensity_none_is_drawn() -> None:
    transform = augmentation(roi_size=(8, 9, 10), label_count=2, intensity=False)
    item = {"image": torch.rand(1, 30, 30, 30), "label": torch.zeros(1, 30, 30, 30)}
    assert {transform.draw(item).intensity for _ in range(30)} == {IntensityDraw()}


def test_starts_lie_in_the_volume_and_everywhere_in_it() -> None:
    random = np.random.default_rng(0)
    starts = [drawn_start(random, (12, 8, 5), (10, 8, 9), None, foreground=1.0) for _ in range(200)]
    assert set(starts) == {(0, 0, -2), (1, 0, -2), (2, 0, -2)}


def test_a_class_is_at_the_centre_where_the_volume_allows_it() -> None:
    voxel = np.ravel_multi_index((11, 20, 3), (30, 30, 30))
    indices = [torch.arange(5), torch.tensor([]), torch.tensor([voxel])]
    random = np.random.default_rng(0)
    start = drawn_start(random, (30, 30, 30), (8, 9, 10), indices, foreground=1.0)
    assert start == (7, 16, 0)


def test_turning_is_a_rotation_in_mm() -> None:
    mm = np.array([0.7, 1.2, 3.0])
    matrix = np.array(turning((0.3, -0.2, 0.5), 1.25, mm))
    in_mm = matrix * mm[:, None] / mm[None, :] * 1.25
    np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(in_mm) == pytest.approx(1)


@pytest.mark.parametrize(
    ("size", "shape", "mm", "turned_about"),
    [
        ((64, 64, 1), (200, 200, 1), (1, 1, 5), "z"),
        ((64, 64, 8), (200, 200, 30), (0.5, 0.5, 0.5), "z"),
        ((64, 64, 32), (200, 200, 3), (0.5, 0.5, 1.0), "z"),
        ((1, 64, 64), (40, 200, 200), (1, 1, 1), "x"),
        ((64, 64, 8), (200, 200, 30), (0.5, 0.5, 5.0), "xyz"),
        ((64, 64, 64), (70, 70, 70), (1, 1, 1), "xyz"),
    ],
)
def test_windows_of_few_slices_are_turned_within_them(
    size: tuple[int, int, int],
    shape: tuple[int, int, int],
    mm: tuple[float, float, float],
    turned_about: str,
) -> None:
    """Turned out of a slice, most of a window would be padding without a label."""
    window = RandomWindowd(roi_size=size, rotation_probability=1.0, scale_probability=0.0)
    window.set_random_state(3)
    image = MetaTensor(torch.zeros(1, *shape), affine=torch.diag(torch.tensor([*mm, 1.0])))
    for _ in range(5):
        matrix = np.asarray(window.draw({"image": image}).matrix)
        in_mm = np.diag(mm) @ matrix @ np.diag(1 / np.asarray(mm))
        fixed = [axis for axis in range(3) if np.allclose(in_mm[axis], np.eye(3)[axis], atol=1e-9)]
        assert fixed == ([] if turned_about == "xyz" else ["xyz".index(turned_about)])


def test_a_single_slice_is_not_darkened_by_blurring() -> None:
    image = torch.full((1, 16, 16, 1), 5.0)
    inside = blurred(image, (1.0, 1.0, 1.0))[0, 6:10, 6:10, 0]
    torch.testing.assert_close(inside, torch.full((4, 4), 5.0), atol=0.02, rtol=0)
