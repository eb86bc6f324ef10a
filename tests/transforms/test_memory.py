"""Images that another tool hands over in memory, through MONAI's own classes."""

from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage, SaveImaged
from volumes import save

from gridgate.data.errors import ImageError
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.transforms import LoadCased, postprocessing, preprocessing

AFFINE = np.array([[-2.0, 0, 0, 10], [0, 0, 2.5, -20], [0, -2.0, 0, 30], [0, 0, 0, 1.0]])


def scan(path: Path, *, channels: int = 1, seed: int = 0) -> Path:
    shape = (20, 24, 28) if channels == 1 else (20, 24, 28, channels)
    values = np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)
    return save(path, values, AFFINE)


def chain(output: Path | None = None, **settings: Any) -> tuple[Any, Any]:
    before = preprocessing(
        spacing=(3, 3, 3), intensity={"mode": "window", "low": -1000, "high": 1000}, **settings
    )
    return before, postprocessing(output_dir=output, labels=["background", "dense", "more"])


class Bands(torch.nn.Module):
    """Three labels by intensity; windows without air around them."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.cat([0 * windows + 0.5, windows, 1.5 * windows - 0.35], 1) * 10


def segment(before: Any, after: Any, item: dict[str, Any]) -> dict[str, Any]:
    """As MONAI Label calls a bundle: the inferer sees the image and the network alone."""
    data = before(item)
    inferer = SlidingWindow((8, 8, 8), overlap=0.25, amp=False)
    data["pred"] = inferer(data["image"][None].to("cpu"), Bands())[0]
    return dict(after(data))


FORMS = {
    "metatensor": lambda path: LoadImage()(path),
    "channel first": lambda path: LoadImage(ensure_channel_first=True)(path),
    "float array": lambda path: np.asarray(nib.load(path).dataobj).astype(np.float64),
    "big endian": lambda path: np.asarray(nib.load(path).dataobj).astype(">i2"),
    "flipped memory": lambda path: np.asarray(nib.load(path).dataobj)[::-1].copy()[::-1],
    "tensor": lambda path: torch.from_numpy(np.asarray(nib.load(path).dataobj).copy()),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_in_memory_is_the_same_as_its_file(form: str, tmp_path: Path) -> None:
    path = scan(tmp_path / "ct.nii.gz")
    image = FORMS[form](path)
    item = {"image": image}
    if not isinstance(image, MetaTensor):
        item["image_meta_dict"] = {"affine": AFFINE}
    kept = image.clone() if isinstance(image, torch.Tensor) else image.copy()
    before, after = chain(tmp_path / "output")
    from_file = segment(before, chain()[1], {"image": str(path)})["pred"]
    found = segment(before, after, item)["pred"]
    assert len(np.unique(from_file)) == 3
    np.testing.assert_array_equal(np.asarray(found), np.asarray(from_file))
    np.testing.assert_allclose(np.asarray(found.affine), AFFINE)
    assert not (tmp_path / "output").exists()  # nothing is written for what has no name
    assert bool((kept == image).all())  # and the caller's image is as it was


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_layout_in_memory_changes_no_bit_on_the_networks_grid(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    path = scan(tmp_path / "ct.nii.gz")
    before, _ = chain()
    values = np.asarray(nib.load(path).dataobj)
    laid_out = np.ascontiguousarray(values.transpose(order)).transpose(np.argsort(order))
    found = before({"image": laid_out, "image_meta_dict": {"affine": AFFINE}})["image"]
    assert torch.equal(found.as_tensor(), before({"image": str(path)})["image"].as_tensor())


def test_channels_are_found_where_the_meta_says(tmp_path: Path) -> None:
    path = scan(tmp_path / "mr.nii.gz", channels=2)
    load = LoadCased("image", channels=2)
    wanted = load({"image": path})["image"]
    last = LoadImage()(path)
    assert last.shape[-1] == 2
    for image in (last, LoadImage(ensure_channel_first=True)(path)):
        np.testing.assert_array_equal(load({"image": image})["image"], wanted)
    with pytest.raises(ImageError, match=r"in memory has the axes \(20, 24, 28, 2\).*C = 3"):
        LoadCased("image", channels=3)({"image": np.asarray(last)})


def test_without_an_affine_a_note_says_what_was_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = LoadCased("image")({"image": np.zeros((4, 5, 6), dtype=np.float32)})["image"]
    assert image.meta["notes"].startswith("geometry: ") and "without an affine" in caplog.text
    np.testing.assert_array_equal(image.affine, np.eye(4))


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((3, 3, 3), np.nan), "none of its voxels is a finite number"),
        (np.zeros((3, 3)), r"axes \(3, 3\)"),
        (np.zeros((3, 3, 3), dtype=complex), "not numbers"),
        (np.zeros((0, 3, 3)), "no voxel"),
    ],
)
def test_an_impossible_image_is_refused(array: np.ndarray, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        LoadCased("image")({"image": array})


def test_label_maps_in_memory_are_checked_as_files_are() -> None:
    load = LoadCased("label", keep_integers=True)
    found = load({"label": np.array([[[0.0, 1.0, 2.0]]])})["label"]
    assert found.dtype == torch.uint8 and found.shape == (1, 1, 1, 3)
    with pytest.raises(ImageError, match="fractions"):
        load({"label": np.array([[[0.5]]])})
    with pytest.raises(ImageError, match="negative value -1"):
        load({"label": np.array([[[-1]]])})


@pytest.mark.parametrize("in_file", [True, False])
def test_a_region_holds_where_only_the_image_is_handed_on(in_file: bool, tmp_path: Path) -> None:
    path = scan(tmp_path / "ct.nii.gz")
    wanted = np.zeros((20, 24, 28), dtype=np.uint8)
    wanted[:6, :6, :6] = 1
    masks = tmp_path / "masks"
    masks.mkdir()
    save(masks / "ct.nii.gz", wanted, AFFINE)
    region: Any = masks / "ct.nii.gz" if in_file else masks  # of a folder by the image's name
    found = segment(*chain(region=region), {"image": str(path)})["pred"]
    everywhere = segment(*chain(), {"image": str(path)})["pred"]
    assert np.asarray(everywhere)[0, 15:, 15:, 20:].any()
    assert not np.asarray(found)[0, 15:, 15:, 20:].any()
    np.testing.assert_array_equal(
        np.asarray(found)[0, :5, :5, :5], np.asarray(everywhere)[0, :5, :5, :5]
    )


def test_the_region_in_the_meta_is_cropped_with_the_image(tmp_path: Path) -> None:
    path = scan(tmp_path / "ct.nii.gz")
    before, _ = chain(region=[[-30, -20, -10], [5, 10, 20]], foreground=0.9)
    data = before({"image": str(path)})
    assert torch.equal(data["image"].meta["region"], data["region"])
    assert data["region"].shape[1:] == data["image"].shape[1:]


def test_an_image_that_was_moved_since_runs_everywhere() -> None:
    image = MetaTensor(torch.rand(1, 1, 12, 12, 12), meta={"region": torch.zeros(1, 9, 9, 9)})
    inferer = SlidingWindow((8, 8, 8), overlap=0.25, amp=False)
    np.testing.assert_array_equal(inferer(image, Bands()), inferer(image.as_tensor(), Bands()))


def test_what_writes_is_a_saveimaged_that_tools_take_out(tmp_path: Path) -> None:
    after = postprocessing(
        output_dir=tmp_path / "o", labels=["background", "a"], probabilities=["a"], dicom_seg=True
    )
    writers = [one for one in after.transforms if hasattr(one, "files")]
    assert len(writers) == 3 and all(isinstance(one, SaveImaged) for one in writers)
    assert not [
        one for one in after.transforms if isinstance(one, SaveImaged) and one not in writers
    ]
