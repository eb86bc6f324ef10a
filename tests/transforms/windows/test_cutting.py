"""A drawn window is the same wherever it is cut, and no device is waited for."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from gridgate.transforms import ClassIndicesd, augmentation
from gridgate.transforms.windows.cutting import cut_windows
from gridgate.transforms.windows.draws import IntensityDraw, WindowDraw, turning

SIZE = (10, 12, 9)
TURNED = turning((0.3, -0.2, 0.4), 1.1)
EVERY_CHANGE = IntensityDraw(0.1, 5, (0.6, 0.7, 0.8), 1.1, 0.05, 0.8, 0.6, 1.3, 0.8)
DRAWS = {
    "cut": WindowDraw((3, 4, 5)),
    "mirrored": WindowDraw((3, 4, 5), flips=(0, 2)),
    "padded": WindowDraw((-2, 4, 18), flips=(1,)),
    "turned": WindowDraw((9, 8, 8), TURNED),
    "turned and mirrored": WindowDraw((9, 8, 8), TURNED, (1, 2)),
    "reaching out": WindowDraw((0, 0, 15), TURNED, (0,)),
}


def case() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(2, 28, 30, 26, generator=generator) + 3
    return {"image": image, "label": (image[:1] * 9).floor() - 27}


def cut(item: dict[str, torch.Tensor], draw: WindowDraw, size: Any = SIZE) -> list[torch.Tensor]:
    return cut_windows([(item["image"], False), (item["label"], True)], draw, size)


@pytest.mark.parametrize("name", ["turned", "reaching out"])
def test_mirroring_is_the_turned_window_mirrored(name: str) -> None:
    plain = WindowDraw(DRAWS[name].start, TURNED)
    for one, other in zip(
        cut(case(), WindowDraw(plain.start, TURNED, (0, 2))), cut(case(), plain), strict=True
    ):
        assert torch.equal(one, other.flip([1, 3]))


def test_a_cut_is_a_piece_padded_with_its_own_lowest_value() -> None:
    item = case()
    image, label = cut(item, DRAWS["padded"])
    inside = item["image"][:, :8, 4:16, 18:26].flip([2])
    assert torch.equal(image[:, 2:, :, :8], inside) and torch.equal(
        label[:, 2:, :, :8], item["label"][:, :8, 4:16, 18:26].flip([2])
    )
    assert (image[:, :2] == inside.min()).all() and (image[..., 8:] == inside.min()).all()
    assert (label[:, :2] == 0).all() and (label[..., 8:] == 0).all()


@pytest.mark.parametrize("flips", [(), (1, 2)])
def test_outside_of_the_volume_is_the_lowest_value_of_what_is_touched(flips: Any) -> None:
    item = case()
    image, label = cut(item, WindowDraw((-3, 0, 15), TURNED, flips))
    matrix, half = np.array(TURNED), (np.array(SIZE) - 1) / 2
    offset = np.array((-3, 0, 15)) + half - matrix @ half
    lowest = float(image.min())
    assert 3 <= lowest < 3.1
    padded = [np.pad(item[key].numpy()[0], 20, constant_values=value) for key, value in
              (("image", lowest), ("label", 0.0))]  # fmt: skip
    axes = [axis for axis in flips]
    for found, volume, order in zip((image, label), padded, (1, 0), strict=True):
        wanted = ndimage.affine_transform(volume, matrix, offset + 20, SIZE, order=order)
        wanted = np.flip(wanted, axes)
        assert (np.abs(found[0].numpy() - wanted) < 1e-4).mean() > 0.999


def test_a_part_on_disk_is_asked_for_once_and_no_larger_than_needed() -> None:
    asked: list[Any] = []

    class Stored:
        shape = torch.Size((1, 28, 30, 26))

        def __getitem__(self, box: Any) -> torch.Tensor:
            asked.append([range(28)[box[1]], range(30)[box[2]], range(26)[box[3]]])
            return torch.zeros(1, 28, 30, 26)[box]

    cut_windows([(Stored(), False)], WindowDraw((3, 4, 5)), SIZE)
    cut_windows([(Stored(), False)], WindowDraw((9, 8, 8), turning((0, 0, 0), 2.0)), SIZE)
    whole, grown = asked
    assert whole == [range(3, 13), range(4, 16), range(5, 14)]
    assert all(len(axis) <= size / 2 + 5 for axis, size in zip(grown, SIZE, strict=True))


def apply(draw: WindowDraw, device: str) -> dict[Any, Any]:
    item = {name: volume.to(device) for name, volume in case().items()}
    return augmentation(roi_size=SIZE, label_count=3).apply(item, draw)


@pytest.mark.parametrize("name", DRAWS)
def test_no_device_is_waited_for(name: str) -> None:
    draw = WindowDraw(DRAWS[name].start, DRAWS[name].matrix, DRAWS[name].flips, EVERY_CHANGE)
    found = apply(draw, "meta")  # a device without numbers: reading one is an error there
    with pytest.raises(RuntimeError):
        float(found["image"].min())
    for key, channels in (("image", 2), ("label", 1)):
        assert found[key].shape == (channels, *SIZE) and found[key].dtype == torch.float32
        assert found[key].device.type == "meta" and found[key].is_contiguous()


@pytest.mark.cuda
@pytest.mark.parametrize("changes", [IntensityDraw(), EVERY_CHANGE], ids=["as is", "changed"])
@pytest.mark.parametrize("name", DRAWS)
def test_a_gpu_gives_the_same_window(name: str, changes: IntensityDraw) -> None:
    draw = WindowDraw(DRAWS[name].start, DRAWS[name].matrix, DRAWS[name].flips, changes)
    there, here = apply(draw, "cuda"), apply(draw, "cpu")
    assert there["image"].is_cuda and there["label"].is_cuda
    torch.testing.assert_close(there["image"].cpu(), here["image"], rtol=1e-4, atol=1e-4)
    # a voxel between two neighbours may be given to either
    assert (there["label"].cpu() != here["label"]).double().mean() < 0.002


@pytest.mark.cuda
def test_a_gpu_is_not_waited_for() -> None:
    item = {name: volume.to("cuda") for name, volume in case().items()}
    lists = ClassIndicesd("label", label_count=3)(case())["label_class_indices"]
    item["label_class_indices"] = lists
    transform = augmentation(
        roi_size=SIZE, label_count=3, rotation_probability=0.5, scale_probability=0.5
    )
    transform.set_random_state(0)(item)  # whatever CUDA does the first time
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for seed in range(60):
            transform.set_random_state(seed)(item)
    finally:
        torch.cuda.set_sync_debug_mode(before)
