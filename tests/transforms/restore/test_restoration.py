from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd, Spacingd
from scipy import ndimage
from torch.nn import functional
from volumes import SHAPE, all_axis_aligned, blob, centred_affine, rotation, save

from gridgate.data.geometry.grids import Grid
from gridgate.transforms import LoadCased, RestoreLabelsd, preprocessing, restore_labels
from gridgate.transforms.restore import cells
from gridgate.transforms.restore.restoration import Restoration
from gridgate.transforms.restore.slabs import ScoreSlabs, Slab


def _everywhere(
    logits: torch.Tensor, affine: np.ndarray, target: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """The plain way: grid_sample of all channels at all voxels in float64, then argmax.

    Also where that is a matter of rounding: two labels within 1e-5, or a voxel within 2e-4 voxels
    of the distance at which the outside begins.
    """
    matrix = np.linalg.solve(affine, target.affine)
    sizes = np.array(logits.shape[1:])
    index = np.stack(np.meshgrid(*[np.arange(n) for n in target.shape], indexing="ij"), -1).reshape(
        -1, 3
    )
    at = index @ matrix[:3, :3].T + matrix[:3, 3]
    points = ((2 * at + 1) / sizes - 1)[:, ::-1].copy().reshape(1, *target.shape, 3)
    values = functional.grid_sample(
        logits.double()[None], torch.from_numpy(points), padding_mode="border", align_corners=False
    )[0]
    if len(values) == 1:
        values = torch.cat([torch.zeros_like(values), values])
    labels = values.argmax(0).numpy()
    outside = ((at < -1) | (at > sizes)).any(1).reshape(target.shape)
    labels[outside] = 0
    top = values.topk(2, 0).values
    at_edge = ((np.abs(at + 1) < 2e-4) | (np.abs(at - sizes) < 2e-4)).any(1).reshape(target.shape)
    return labels, ((top[0] - top[1]).numpy() < 1e-5) | at_edge


def _assert_same(found: np.ndarray, logits: torch.Tensor, affine: np.ndarray, target: Grid) -> None:
    expected, rounding = _everywhere(logits, affine, target)
    np.testing.assert_array_equal(found[~rounding], expected[~rounding])


def _cut(
    logits: torch.Tensor, axis: int, rng: np.random.Generator, *, probabilities: bool = False
) -> ScoreSlabs:
    """The scores as slabs of 1 to 5 rows along an axis."""

    def rows() -> Iterator[Slab]:
        start, moved = 0, logits.movedim(axis + 1, 0).movedim(1, -1)
        while start < len(moved):
            count = int(rng.integers(1, 6))
            yield Slab(start, moved[start : start + count].contiguous())
            start += count

    return ScoreSlabs(tuple(logits.shape[1:]), axis, rows, probabilities)


def _logits(rng: np.random.Generator, channels: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Smooth enough to have uniform cells and mixed ones."""
    coarse = torch.from_numpy(rng.normal(size=(1, channels, 4, 4, 4))).float()
    return functional.interpolate(coarse, size=shape, mode="trilinear")[0]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    channels=st.integers(1, 5),
    turn=st.integers(0, 47),
    degrees=st.sampled_from([0.0, 0.0, 7.0, 40.0]),
    shear=st.sampled_from([0.0, 0.3]),
    shape=st.tuples(*[st.integers(1, 11)] * 3),
    target_shape=st.tuples(*[st.integers(1, 16)] * 3),
    max_slab_bytes=st.sampled_from([1.0, 3e4, 256e6]),
)
def test_it_is_interpolating_everywhere_then_argmax(
    seed: int,
    channels: int,
    turn: int,
    degrees: float,
    shear: float,
    shape: tuple[int, int, int],
    target_shape: tuple[int, int, int],
    max_slab_bytes: float,
) -> None:
    rng = np.random.default_rng(seed)
    logits = _logits(rng, channels, shape)
    affine = centred_affine(np.diag(rng.uniform(1, 3, 3)), (0, 0, 0), shape)
    columns = rotation(degrees) @ all_axis_aligned()[turn] @ np.diag(rng.uniform(0.7, 2.5, 3))
    columns = columns @ (np.eye(3) + shear * np.eye(3, k=1))
    target = Grid(target_shape, centred_affine(columns, rng.uniform(-3, 3, 3), target_shape))
    found = restore_labels(logits, affine=affine, target=target, max_slab_bytes=max_slab_bytes)
    assert found.dtype == np.uint8 and found.shape == target_shape
    slabs = _cut(logits, int(rng.integers(3)), rng)
    by_slabs = restore_labels(slabs, affine=affine, target=target, max_slab_bytes=max_slab_bytes)
    expected, rounding = _everywhere(logits, affine, target)
    for labels in (found, by_slabs):
        np.testing.assert_array_equal(labels[~rounding], expected[~rounding])


def test_the_same_grid_is_plain_argmax() -> None:
    logits = torch.randn(4, 7, 8, 9, generator=torch.Generator().manual_seed(0))
    affine = centred_affine(rotation(10), (1, 2, 3), (7, 8, 9))
    found = restore_labels(logits, affine=affine, target=Grid((7, 8, 9), affine))
    np.testing.assert_array_equal(found, logits.argmax(0).numpy())


def test_by_hand_between_two_voxels_and_beyond_the_border() -> None:
    # Logits of label 1 minus those of label 0 run 3, 3, -1: they cross zero at x = 1.75.
    logits = torch.zeros(2, 3, 1, 1)
    logits[1, :, 0, 0] = torch.tensor([3.0, 3.0, -1.0])
    target = Grid(
        (21, 1, 1), np.array([[0.25, 0, 0, -1.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    found = restore_labels(logits, affine=np.eye(4), target=target)[:, 0, 0]
    x = -1.5 + 0.25 * np.arange(21)
    np.testing.assert_array_equal(found, (x >= -1) & (x < 1.75))
    single = restore_labels(logits[1:], affine=np.eye(4), target=target)[:, 0, 0]
    np.testing.assert_array_equal(single, found)


def test_a_cropped_net_gives_background_outside_its_crop() -> None:
    logits = torch.zeros(2, 4, 4, 4)
    logits[1] = 1
    crop = np.eye(4)
    crop[:3, 3] = 6
    found = restore_labels(logits, affine=crop, target=Grid((16, 16, 16), np.eye(4)))
    expected = np.zeros((16, 16, 16), np.uint8)
    expected[5:11, 5:11, 5:11] = 1  # the crop and one voxel around it
    np.testing.assert_array_equal(found, expected)


def test_many_labels_are_uint16_and_half_precision_works() -> None:
    logits = torch.randn(300, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    target = Grid((6, 6, 6), np.diag([0.5, 0.5, 0.5, 1.0]))
    found = restore_labels(logits, affine=np.eye(4), target=target)
    assert found.dtype == np.uint16
    _assert_same(found, logits, np.eye(4), target)
    half = restore_labels(logits.half(), affine=np.eye(4), target=target)
    _assert_same(half, logits.half(), np.eye(4), target)


@pytest.mark.parametrize("degrees", [0.0, 12.0])
def test_temporary_arrays_stay_below_the_bound(
    monkeypatch: pytest.MonkeyPatch, degrees: float
) -> None:
    rng = np.random.default_rng(0)
    channels, budget = 12, 2e6
    logits = torch.from_numpy(
        rng.normal(size=(channels, 20, 20, 20))
    ).float()  # noise: every cell is mixed
    columns = rotation(degrees) * 0.25
    target = Grid((80, 80, 80), centred_affine(columns, (9.5, 9.5, 9.5), (80, 80, 80)))
    sizes: list[int] = []
    interpolate, decide_mixed = cells.interpolate, cells.decide_mixed

    def watched_interpolate(
        scores: torch.Tensor, first: int, at: torch.Tensor, shape: list[int]
    ) -> torch.Tensor:
        result = interpolate(scores, first, at, shape)
        sizes.append(3 * result.numel() * 4 + at.numel() * 8)
        return result

    def watched_mixed(found: torch.Tensor, *rest: Any, **options: Any) -> None:
        sizes.append(found.numel() * 128)
        decide_mixed(found, *rest, **options)

    monkeypatch.setattr(cells, "interpolate", watched_interpolate)
    monkeypatch.setattr("gridgate.transforms.restore.restoration.decide_mixed", watched_mixed)
    restore_labels(logits, affine=np.eye(4), target=target, max_slab_bytes=budget)
    assert len(sizes) > 20 and max(sizes) <= budget / 2


@pytest.mark.parametrize("turn", [0, 13, 45])
def test_agrees_with_monai_invertd(tmp_path: Path, turn: int) -> None:
    affine = centred_affine(all_axis_aligned()[turn] @ np.diag([1.2, 1.0, 2.0]), (0, 0, 0))
    path = save(tmp_path / "a.nii.gz", blob(SHAPE, affine, (2, 3, 4)), affine)
    spacing = (1.9, 2.1, 2.3)
    image = preprocessing(spacing=spacing, intensity={"mode": "zscore"})({"image": path})["image"]
    logits = _logits(np.random.default_rng(turn), 3, tuple(image.shape[1:]))
    ours = RestoreLabelsd()({"image": image, "pred": logits})["pred"]
    # MONAI inverts what MONAI's own transforms have recorded.
    axes = (("L", "R"), ("P", "A"), ("I", "S"))
    resample = Spacingd(
        "image", pixdim=spacing, mode="bilinear", padding_mode="border", dtype=np.float32
    )
    before = Compose(
        [LoadCased("image"), Orientationd("image", axcodes="RAS", labels=axes), resample]
    )
    image = before({"image": path})["image"]
    pred = MetaTensor(logits, meta=image.meta, applied_operations=image.applied_operations)
    invert = Invertd("pred", before, orig_keys="image", nearest_interp=False)
    theirs = invert({"image": image, "pred": pred})["pred"].argmax(0).numpy()
    assert ours.shape[1:] == theirs.shape == SHAPE
    np.testing.assert_allclose(ours.affine.numpy(), affine, atol=1e-6)
    # Outside, both take the border's values; MONAI's coordinates are float32: a boundary voxel may
    # differ.
    agreement = (ours.numpy()[0] == theirs).mean()
    print(f"agrees with Invertd in {agreement:.6f} of the voxels")
    assert agreement > 0.9995


def test_timings_and_scores_on_another_grid(tmp_path: Path) -> None:
    affine = np.eye(4)
    path = save(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.float32), affine)
    image = preprocessing(intensity={"mode": "zscore"})({"image": path})["image"]
    logits = torch.randn(3, 4, 4, 4)
    item = RestoreLabelsd()({"image": image, "pred": logits, "timings": {}})
    assert item["pred"].numpy().dtype == np.uint8 and item["timings"]["restore"] > 0
    np.testing.assert_array_equal(item["pred"].numpy()[0], logits.argmax(0).numpy())
    with pytest.raises(ValueError, match="not on the grid"):
        RestoreLabelsd()({"image": image, "pred": logits[:, 1:]})


@pytest.mark.parametrize("degrees", [0.0, 15.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_are_the_softmax_interpolated(degrees: float, channels: int) -> None:
    rng = np.random.default_rng(channels)
    logits = _logits(rng, channels, (9, 10, 11)) * 3
    affine = centred_affine(np.diag([1.5, 1.0, 2.0]), (0, 0, 0), (9, 10, 11))
    target = Grid(
        (14, 16, 18), centred_affine(rotation(degrees) * 0.9, (0.3, 0.2, 0.1), (14, 16, 18))
    )
    chances = logits.sigmoid() if channels == 1 else logits.softmax(0)
    matrix = np.linalg.solve(affine, target.affine)
    at = (
        np.stack(np.meshgrid(*[np.arange(n) for n in target.shape], indexing="ij"), -1)
        @ matrix[:3, :3].T
    )
    at = np.moveaxis(at + matrix[:3, 3], -1, 0)
    wanted = ndimage.map_coordinates(chances[-1].numpy(), at, order=1, mode="nearest")
    wanted[((at < -1) | (at > np.array(logits.shape[1:])[:, None, None, None])).any(0)] = 0
    for slabs in (
        ScoreSlabs.of(logits),
        _cut(logits, 2, rng),
        _cut(chances, 1, rng, probabilities=True),
    ):
        label = max(1, channels - 1)
        found = Restoration(slabs, affine=affine, target=target, probabilities=[label]).run()
        assert found.probabilities[label].dtype == np.uint8
        np.testing.assert_allclose(found.probabilities[label], wanted * 255, atol=0.51)


def test_where_no_score_is_the_background_is_certain() -> None:
    """A network that saw a part of the scan: around it is background, as in the mask."""
    logits = _logits(np.random.default_rng(0), 3, (4, 4, 4))
    inside = np.eye(4)
    inside[:3, 3] = 4
    found = Restoration(
        ScoreSlabs.of(logits),
        affine=inside,
        target=Grid((12, 12, 12), np.eye(4)),
        probabilities=[0, 2],
    ).run()
    around = np.ones((12, 12, 12), dtype=bool)
    around[3:9, 3:9, 3:9] = False
    assert not found.labels[around].any()
    assert (found.probabilities[0][around] == 255).all()
    assert (found.probabilities[2][around] == 0).all()
    for degrees in (0.0, 20.0):
        turned = Grid(
            (12, 12, 12), centred_affine(rotation(degrees), (5.5, 5.5, 5.5), (12, 12, 12))
        )
        part = Restoration(
            ScoreSlabs.of(logits), affine=inside, target=turned, probabilities=[0, 1, 2]
        ).run()
        total = sum(array.astype(int) for array in part.probabilities.values())
        assert np.abs(total - 255).max() <= 2


def test_boundary_margin_by_hand() -> None:
    # one boundary along x between rows 1 and 2, where label 0 has probability 0.9; elsewhere all is
    # certain
    chances = torch.tensor([1.0, 0.9, 0.0, 0.0])
    scores = torch.stack([chances, 1 - chances])[:, :, None, None].expand(2, 4, 3, 3)
    slabs = ScoreSlabs.of(scores, probabilities=True)
    found = Restoration(slabs, affine=np.eye(4), target=Grid((4, 3, 3), np.eye(4))).run()
    assert found.boundary_margin == pytest.approx(0.8)
    same = Restoration(
        ScoreSlabs.of(scores[:, :2]), affine=np.eye(4), target=Grid((2, 3, 3), np.eye(4))
    ).run()
    assert same.boundary_margin is None


def test_slabs_of_one_row_on_grids_that_almost_meet() -> None:
    """Coordinates on voxels' centres, but for rounding, at the border of every slab."""
    rng = np.random.default_rng(5)
    for _ in range(40):
        logits = _logits(rng, 3, (6, 7, 9))
        columns = (rotation(float(rng.uniform(0, 0.01))) @ np.diag([2.0, 2.0, 2.0])).astype(
            np.float32
        )
        affine = centred_affine(np.diag([2.0, 2.0, 2.0]), (0, 0, 0), (6, 7, 9))
        target = Grid((6, 7, 9), centred_affine(columns.astype(np.float64), (0, 0, 0), (6, 7, 9)))
        moved = logits.movedim(0, -1)
        slabs = ScoreSlabs(
            (6, 7, 9), 0, lambda moved=moved: (Slab(n, moved[n : n + 1]) for n in range(6))
        )  # type: ignore[misc]
        _assert_same(restore_labels(slabs, affine=affine, target=target), logits, affine, target)


@pytest.mark.parametrize("off", [-1, 1])
def test_blocks_whose_cells_are_worked_out_in_another_way(
    off: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On voxels' centres rounding may give the next cell: no plane of a block is passed over."""
    reach = Restoration._reach

    def rounded(self: Restoration, block: Any) -> tuple[int, int]:
        low, high = reach(self, block)
        return low + off, high + off

    monkeypatch.setattr(Restoration, "_reach", rounded)
    logits = _logits(np.random.default_rng(3), 3, (9, 6, 5))
    affine = centred_affine(np.diag([2.0, 2.0, 3.0]), (0, 0, 0), (9, 6, 5))
    tilted = np.array([[2.0, 0, 0], [0, 2.0, 0.6], [0, 0, 3.0]])
    target = Grid((9, 6, 5), centred_affine(tilted, (0, 0, 0), (9, 6, 5)))
    moved = logits.movedim(0, -1)
    slabs = ScoreSlabs((9, 6, 5), 0, lambda: (Slab(n, moved[n : n + 3]) for n in (0, 3, 6)))
    found = restore_labels(slabs, affine=affine, target=target, max_slab_bytes=2e4)
    _assert_same(found, logits, affine, target)


def test_slabs_must_follow_each_other_and_be_numbers() -> None:
    scores = torch.zeros(4, 3, 3, 2)
    for slabs, text in (
        ([Slab(0, scores), Slab(5, scores)], "row 4 was due"),
        ([Slab(0, scores)], "slabs of 4 rows came, the volume has 9"),
        ([Slab(0, scores + torch.nan)], "NaN or infinite"),
    ):
        stream = ScoreSlabs((9, 3, 3), 0, lambda slabs=slabs: iter(slabs))  # type: ignore[misc]
        with pytest.raises(ValueError, match=text):
            restore_labels(stream, affine=np.eye(4), target=Grid((9, 3, 3), np.eye(4)))
