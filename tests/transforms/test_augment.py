import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from gridgate.transforms import ClassIndicesd, RandomWindowd, augmentation

SHAPE = (60, 70, 50)


def _item(
    shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = (1, 1, 1)
) -> dict:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    image = torch.from_numpy((smooth / smooth.std()).astype(np.float32))[None]
    label = torch.zeros(1, *shape)
    label[0, : shape[0] // 4, : shape[1] // 4, : shape[2] // 4] = 1
    label[0, -2:, -2:, -2:] = 2
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    item = {"image": MetaTensor(image, affine=affine), "label": MetaTensor(label, affine=affine)}
    return ClassIndicesd("label", label_count=4)(item)


def test_class_indices_are_the_classes_voxels() -> None:
    item = _item()
    lists = item["label_class_indices"]
    flat = item["label"].numpy().ravel()
    assert [len(voxels) for voxels in lists] == [10_000, 15 * 17 * 12, 8, 0]
    for label, voxels in enumerate(lists):
        assert (flat[voxels.numpy()] == label).all() and len(set(voxels.tolist())) == len(voxels)


def test_same_seed_same_window_and_the_input_is_not_changed() -> None:
    item = _item()
    image, label = item["image"].clone(), item["label"].clone()
    transform, other = (augmentation(roi_size=(24, 32, 20), label_count=4) for _ in range(2))
    differences = 0
    for seed in range(25):
        first = transform.set_random_state(seed)(item)
        again = other.set_random_state(seed)(item)
        assert type(first["image"]) is type(first["label"]) is torch.Tensor
        assert first["image"].shape == first["label"].shape == (1, 24, 32, 20)
        assert first["image"].dtype == first["label"].dtype == torch.float32
        assert torch.isfinite(first["image"]).all() and set(first) == {"image", "label"}
        assert torch.equal(first["image"], again["image"]) and torch.equal(
            first["label"], again["label"]
        )
        differences += not torch.equal(
            first["image"], transform.set_random_state(seed + 1000)(item)["image"]
        )
    assert differences == 25
    assert torch.equal(item["image"], image) and torch.equal(item["label"], label)


def _plain(**options: object) -> RandomWindowd:
    quiet = {"rotation_probability": 0.0, "scale_probability": 0.0, "mirror_axes": ()}
    return RandomWindowd(**{"roi_size": (16, 16, 16), **quiet, **options})  # type: ignore[arg-type]


def test_windows_hold_a_class_in_about_half_of_the_draws_and_each_class_as_often() -> None:
    item = _item()
    transform = _plain(foreground=0.5).set_random_state(0)
    counts = np.zeros(3)
    for _ in range(400):
        present = torch.unique(transform(item)["label"])
        counts += [(present == label).any().item() for label in range(3)]
    # A quarter each by design, and now and then a random window holds a class too.
    assert 0.2 < counts[1] / 400 < 0.4 and 0.2 < counts[2] / 400 < 0.32


def test_a_window_is_a_piece_of_the_volume() -> None:
    item = _item()
    item["image"] = MetaTensor(torch.arange(float(np.prod(SHAPE)))[None].reshape(1, *SHAPE))
    transform = _plain().set_random_state(1)
    for _ in range(20):
        window = transform(item)["image"].numpy()[0]
        x, y, z = np.unravel_index(int(window[0, 0, 0]), SHAPE)
        np.testing.assert_array_equal(
            window, item["image"].numpy()[0, x : x + 16, y : y + 16, z : z + 16]
        )


def test_cases_without_foreground_or_without_lists_still_give_windows() -> None:
    item = _item()
    empty = ClassIndicesd("label", label_count=4)(
        {"image": item["image"], "label": torch.zeros_like(item["label"])}
    )
    without = {"image": item["image"], "label": item["label"]}
    for case in (empty, without):
        result = augmentation(roi_size=(16, 16, 16), label_count=4, foreground=1.0)(case)
        assert result["image"].shape == (1, 16, 16, 16)


@pytest.mark.parametrize("rotation_probability", [0.0, 1.0])
def test_small_volumes_are_centred_and_padded(rotation_probability: float) -> None:
    item = _item((10, 40, 9))
    item["image"] = item["image"] + 5
    lowest = float(item["image"].min())
    transform = _plain(
        roi_size=(16, 16, 12), rotation_probability=rotation_probability
    ).set_random_state(0)
    for _ in range(5):
        result = transform(item)
        assert result["image"].shape == result["label"].shape == (1, 16, 16, 12)
        assert float(result["image"].min()) >= lowest - 1e-4
        assert (result["label"][0, [0, 15]] == 0).all()
    if rotation_probability == 0:
        assert (result["image"][0, :3] == result["image"].min()).all()


def test_mirroring_happens_on_the_asked_axes_only() -> None:
    volume = torch.arange(8.0 * 8 * 8).reshape(1, 8, 8, 8)
    item = {"image": volume, "label": volume}
    transform = _plain(roi_size=(8, 8, 8), mirror_axes=(0, 2)).set_random_state(0)
    seen = {float(transform(item)["image"][0, 0, 0, 0]) for _ in range(60)}
    assert seen == {0.0, 7.0, 7 * 64.0, 7 * 64.0 + 7}


def test_rotation_is_in_mm_and_turns_image_and_label_alike() -> None:
    # Voxels of 1 x 1 x 3 mm; scipy's linear resampling with the matrix worked out by hand.
    shape, size = (40, 40, 24), (12, 14, 8)
    item = _item(shape, (1.0, 1.0, 3.0))
    transform = _plain(
        roi_size=size, rotation_degrees=(20.0, 0.0, 0.0), rotation_probability=1.0, foreground=0.0
    )
    draw = transform.set_random_state(3).draw(item)
    result = transform.apply(item, draw)
    assert draw.matrix is not None
    angle = np.arccos(draw.matrix[1][1])
    angle *= np.sign(draw.matrix[2][1])
    assert 0.05 < abs(angle) <= np.deg2rad(20)
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[1, 0, 0], [0, c, -s * 3], [0, s / 3, c]])
    np.testing.assert_allclose(np.array(draw.matrix), matrix, atol=1e-12)
    half = (np.array(size) - 1) / 2
    offset = np.array(draw.start) + half - matrix @ half

    def resample(volume: np.ndarray, order: int) -> np.ndarray:
        return ndimage.affine_transform(volume, matrix, offset, size, order=order)

    inside = resample(np.ones(shape), 1) > 0.999
    assert inside.mean() > 0.5
    expected = resample(item["image"].numpy()[0], 1)
    np.testing.assert_allclose(result["image"].numpy()[0][inside], expected[inside], atol=1e-4)
    labels = resample(item["label"].numpy()[0], 0)
    assert (labels == result["label"].numpy()[0])[inside].mean() > 0.99


def test_scale_makes_the_anatomy_larger() -> None:
    volume = torch.zeros(1, 40, 40, 40)
    volume[:, 15:25, 15:25, 15:25] = 1
    item = {"image": volume, "label": volume}
    transform = _plain(roi_size=(40, 40, 40), scale=(1.2, 1.2), scale_probability=1.0)
    assert float(transform(item)["image"].sum()) == pytest.approx(1000 * 1.2**3, rel=0.02)
