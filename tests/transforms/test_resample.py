"""Onto the network's grid in one step, against MONAI's Orientation and Spacing, and scipy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Orientation, Spacing
from scipy import ndimage
from volumes import all_axis_aligned, centred_affine, rotation

from gridgate.data.geometry.affines import is_orthonormal
from gridgate.transforms import AlignLabeld, LoadCased, ToNetworkGridd, preprocessing
from gridgate.transforms.resample import grid_of, interpolate_axes, network_grid, parallel_axes

AXES = (("L", "R"), ("P", "A"), ("I", "S"))
SHEAR = np.array([[1, 0, 0], [0, 1, 0.3], [0, 0, 1.0]])


def tensor(array: np.ndarray, columns: np.ndarray) -> MetaTensor:
    affine = centred_affine(columns, (3, -40, 25), array.shape[1:])
    meta = {
        "original_affine": affine,
        "spatial_shape": np.array(array.shape[1:]),
        "filename_or_obj": "a",
        "notes": "n",
    }
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine), meta=meta)


def by_monai(
    image: MetaTensor, orientation: str, spacing: Sequence[float] | None, *, double: bool = False
) -> MetaTensor:
    turned = Orientation(orientation, labels=AXES)(image)
    if spacing is None:
        return turned
    dtype = np.float64 if double else np.float32
    return Spacing(spacing, mode="bilinear", padding_mode="border", dtype=dtype)(turned)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    turn=st.integers(0, 47),
    degrees=st.sampled_from([0.0, 0.0, 12.0, 40.0]),
    sheared=st.sampled_from([False, False, True]),
    channels=st.integers(1, 2),
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    own=st.tuples(*[st.floats(0.6, 4)] * 3),
    spacing=st.one_of(st.none(), st.tuples(*[st.sampled_from([0.7, 1.0, 1.5, 2.0, 3.3])] * 3)),
    orientation=st.sampled_from(["RAS", "LPS", "PIR", "SLA", "IRP"]),
    dtype=st.sampled_from([np.int16, np.int32, np.float32]),
)
def test_the_same_as_orientation_then_spacing(
    seed: int,
    turn: int,
    degrees: float,
    sheared: bool,
    channels: int,
    shape: tuple[int, ...],
    own: tuple[float, ...],
    spacing: tuple[float, ...] | None,
    orientation: str,
    dtype: type,
) -> None:
    rng = np.random.default_rng(seed)
    columns = (
        rotation(degrees)
        @ (SHEAR if sheared else np.eye(3))
        @ all_axis_aligned()[turn]
        @ np.diag(own)
    )
    array = rng.integers(-1000, 1000, (channels, *shape)).astype(dtype)
    image = tensor(array, columns)
    found = ToNetworkGridd(orientation=orientation, spacing=spacing)({"image": image})["image"]
    expected = by_monai(image.float(), orientation, spacing, double=not sheared)
    assert found.dtype == torch.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found.affine.numpy(), expected.affine.numpy(), atol=1e-6)
    # Shear goes MONAI's own way, whose coordinates are float32; the other way has them to 1e-5
    # voxels.
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=0.2 if sheared else 0.06)
    np.testing.assert_array_equal(image.numpy(), array)
    if not sheared:
        assert parallel_axes(grid_of(image), grid_of(found)) is not None


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    turn=st.integers(0, 47),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 3)] * 3),
)
def test_interpolation_is_scipys_with_the_edge_beyond_the_edge(
    seed: int, turn: int, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(seed)
    image = tensor(rng.normal(size=(1, *shape)), all_axis_aligned()[turn])
    source = grid_of(image)
    # A target that reaches beyond the source on both sides of each axis.
    target = network_grid(source, orientation="RAS", spacing=spacing)
    affine = target.affine.copy()
    affine[:3, 3] -= np.array(spacing) * 1.3
    target = type(target)(tuple(n + 3 for n in target.shape), affine)  # type: ignore[arg-type]
    axes = parallel_axes(source, target)
    assert axes is not None
    matrix = np.linalg.solve(source.affine, affine)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in target.shape], indexing="ij"))
    at = np.tensordot(matrix[:3, :3], index, 1) + matrix[:3, 3, None, None, None]
    expected = ndimage.map_coordinates(image.numpy()[0], at, order=1, mode="nearest")
    np.testing.assert_allclose(
        interpolate_axes(image.as_tensor(), axes).numpy()[0], expected, atol=1e-4
    )


def test_meta_is_kept_and_nothing_is_recorded_or_changed() -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (1, 6, 7, 8)).astype(np.int16)
    image = tensor(array, np.diag([-1.0, -1.0, 2.0]))
    item = {"image": image, "timings": {}}
    found = ToNetworkGridd(spacing=(2, 2, 2))(item)["image"]
    for key in ("original_affine", "spatial_shape", "filename_or_obj", "notes"):
        np.testing.assert_array_equal(found.meta[key], image.meta[key])
    assert found.applied_operations == [] and item["timings"]["resample"] > 0
    assert item["image"] is image and image.dtype == torch.int16
    np.testing.assert_allclose(found.affine.numpy()[:3, :3], np.diag([2.0, 2.0, 2.0]))
    assert found.is_contiguous()


def test_a_float_image_on_the_networks_grid_is_not_copied() -> None:
    array = np.random.default_rng(0).normal(size=(1, 6, 7, 8)).astype(np.float32)
    found = ToNetworkGridd(spacing=(1.0, 1.0, 2.0))(
        {"image": tensor(array, np.diag([1.0, 1.0, 2.0]))}
    )["image"]
    assert np.shares_memory(found.numpy(), array)


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ((1.0, 1.0009, 2.003), (1.0, 1.0009, 2.0)),  # an axis within 0.001 mm
        ((1.0, 1.0009, 2.0015), (1.0, 1.0009, 2.0015)),  # all axes within a thousandth of a voxel
        ((1.0, 1.0, 2.003), (1.0, 1.0, 2.0)),
    ],
)
def test_a_spacing_a_thousandth_off_is_left_as_monai_leaves_it(
    own: Sequence[float], kept: Sequence[float]
) -> None:
    array = np.random.default_rng(0).normal(size=(1, 6, 7, 8)).astype(np.float32)
    image = tensor(array, np.diag(own))
    found = ToNetworkGridd(spacing=(1.0, 1.0, 2.0))({"image": image})["image"]
    expected = by_monai(image, "RAS", (1.0, 1.0, 2.0), double=True)
    np.testing.assert_allclose(found.affine.numpy(), expected.affine.numpy(), atol=1e-9)
    np.testing.assert_allclose(np.diag(found.affine.numpy())[:3], kept)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)


def test_a_hair_of_shear_counts_as_none_and_a_tilt_does_not() -> None:
    for cosine, parallel in ((1e-6, True), (1e-3, False)):
        columns = np.eye(3)
        columns[1, 2] = cosine
        source = grid_of(tensor(np.zeros((1, 100, 100, 100), np.int16), columns))
        target = network_grid(source, orientation="RAS", spacing=(1.5, 1.5, 1.5))
        assert is_orthonormal(target.affine, 1e-9)
        assert (parallel_axes(source, target) is not None) == parallel


@pytest.mark.parametrize("turn", range(0, 48, 5))
@pytest.mark.parametrize("degrees", [0.0, 20.0])
@pytest.mark.parametrize("spacing", [None, (1.7, 1.3, 2.9)])
def test_labels_follow_from_their_own_grid(
    turn: int, degrees: float, spacing: tuple[float, ...] | None
) -> None:
    rng = np.random.default_rng(turn)
    columns = rotation(degrees) @ all_axis_aligned()[turn] @ np.diag([1.2, 1.0, 2.0])
    image = tensor(rng.normal(size=(1, 9, 10, 11)).astype(np.float32), columns)
    label = tensor(rng.integers(0, 9, (1, 9, 10, 11)).astype(np.uint8), columns)
    item = AlignLabeld()(
        ToNetworkGridd(orientation="LPS", spacing=spacing)({"image": image, "label": label})
    )
    found = item["label"]
    assert found.meta["filename_or_obj"] == "a" and found.shape == item["image"].shape
    np.testing.assert_allclose(found.affine.numpy(), item["image"].affine.numpy())
    matrix = np.linalg.solve(image.affine.numpy(), found.affine.numpy())
    index = np.stack(np.meshgrid(*[np.arange(n) for n in found.shape[1:]], indexing="ij"))
    at = np.tensordot(matrix[:3, :3], index, 1) + matrix[:3, 3, None, None, None]
    nearest = np.rint(at).astype(int)
    inside = ((nearest >= 0) & (nearest < np.array(label.shape[1:])[:, None, None, None])).all(0)
    expected = np.where(inside, label.numpy()[0][tuple(np.where(inside, nearest, 0))], 0)
    sure = (np.abs(np.abs(at - np.floor(at)) - 0.5) > 1e-6).all(
        0
    )  # half way, either voxel is right
    np.testing.assert_array_equal(found.numpy()[0][sure], expected[sure])
    assert sure.mean() > 0.6
    if spacing is None:
        turned = Orientation("LPS", labels=AXES)(label)
        np.testing.assert_array_equal(found.numpy(), turned.numpy())
        np.testing.assert_allclose(found.affine.numpy(), turned.affine.numpy(), atol=1e-9)


def test_a_label_elsewhere_is_background() -> None:
    image = tensor(np.zeros((1, 5, 5, 5), np.float32), np.eye(3))
    label = tensor(np.ones((1, 4, 4, 4), np.uint8), np.eye(3))
    moved = label.affine.clone()
    moved[0, 3] += 100
    label.affine = moved
    assert not AlignLabeld()({"image": image, "label": label})["label"].any()


def test_the_kept_scan_is_the_files_and_the_image_the_networks(tmp_path: Path) -> None:
    from volumes import save

    array = np.random.default_rng(0).integers(-1000, 1000, (8, 9, 10)).astype(np.int16)
    path = save(tmp_path / "a.nii.gz", array, np.diag([-1.0, 1.0, 2.0, 1.0]))
    window = {"mode": "window", "low": 0, "high": 100}
    item = preprocessing(intensity=window, spacing=(2, 2, 2), keep_scan=True)({"image": path})
    np.testing.assert_array_equal(item["scan"], array)
    assert item["image"].shape == (1, 4, 5, 10) and item["image"].dtype == torch.float32
    assert "scan" not in preprocessing(intensity=window)({"image": path})


def test_real_scans_go_the_short_way_and_come_out_as_monais(shared_data: Path) -> None:
    for name in (
        "ct/sarcoma_002/CT_image.nii.gz",
        "ct/chest_10mm_nrrd/CTChest4.nrrd",
        "odd/CT_pitch_oblique.nii.gz",
        "openkbp_head_neck/imagesTr/okbp_002.nii.gz",
    ):
        item = LoadCased("image", keep_integers=True)({"image": shared_data / name})
        found = ToNetworkGridd(spacing=(3, 2, 4))(item)["image"]
        assert parallel_axes(grid_of(item["image"]), grid_of(found)) is not None, name
        expected = by_monai(
            LoadCased("image")({"image": shared_data / name})["image"], "RAS", (3, 2, 4)
        )
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.affine.numpy(), expected.affine.numpy(), atol=1e-6)
        span = float(expected.max() - expected.min())
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4 * span, err_msg=name)
