"""Lesions one by one: scenes by hand, and an implementation that tries all there is."""

import itertools
import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.label_tables.measured import Measured
from gridgate.pipeline.evaluation.lesions import Lesion, LesionMetrics, lesion_metrics
from gridgate.pipeline.evaluation.metrics import LabelMetrics, case_metrics

SPACING = (1.0, 2.0, 2.5)  # 0.005 ml a voxel
SHEARED = np.array([[-0.2, 2.0, 0.6, -40], [1.5, 0.4, -0.3, 9], [0.5, 0.1, 3.0, 7], [0, 0, 0, 1]])
VOXEL_ML = abs(np.linalg.det(SHEARED)) / 1000
NAMES = ("reference", "prediction", "found", "f1", "quality", "dice")


def measure(one: np.ndarray, two: np.ndarray, least_iou: float = 0.5) -> LesionMetrics:
    return lesion_metrics(one, two, spacing_mm=SPACING, least_iou=least_iou)


def line(*lesions: tuple[int, int]) -> np.ndarray:
    """A row of 16 voxels with lesions from the first voxel to the last of each."""
    mask = np.zeros((16, 1, 1), bool)
    for first, last in lesions:
        mask[first : last + 1] = True
    return mask


def numbers(metrics: LesionMetrics, names: Iterable[str] = NAMES) -> list[float]:
    return [getattr(metrics, name) for name in names]


def sizes(metrics: LesionMetrics) -> list[tuple[int, int]]:
    """Voxels of each lesion in the reference and in the prediction."""
    volumes = np.array([(one.reference_ml, one.prediction_ml) for one in metrics.lesions])
    return [(one, two) for one, two in np.rint(volumes.reshape(-1, 2) / 0.005).astype(int).tolist()]


def approx(wanted: Iterable[float]) -> object:
    return pytest.approx(list(wanted), nan_ok=True)


def test_one_found_one_missed_and_one_made_up() -> None:
    """The found one: 18 voxels, 27 in the prediction, 18 in common. Missed: 4; made up: 6."""
    prediction, reference = np.zeros((2, 12, 10, 6), bool)
    reference[1:4, 1:4, 1:3] = prediction[1:4, 1:4, 1:4] = True
    reference[8:10, 1:3, 4] = True
    prediction[7:10, 7:9, 0] = True
    got = measure(prediction, reference)
    # F1 2 x 1 / 4; quality (18 / 27) / 2; Dice 2 x 18 / 45.
    assert numbers(got) == approx([2, 2, 1, 0.5, 1 / 3, 0.8])
    found, missed, made_up = got.lesions
    assert found.centre_mm == pytest.approx((2.0, 4.0, 3.75))  # index (2, 2, 1.5), the reference's
    assert missed.centre_mm == pytest.approx((8.5, 3.0, 10.0))
    assert made_up.centre_mm == pytest.approx((8.0, 15.0, 0.0))
    overlaps = [(one.reference_ml, one.prediction_ml, one.iou, one.dice) for one in got.lesions]
    wanted = [(0.09, 0.135, 2 / 3, 0.8), (0.02, 0.0, 0.0, 0.0), (0.0, 0.03, 0.0, 0.0)]
    np.testing.assert_allclose(overlaps, wanted, atol=1e-12)


def test_the_order() -> None:
    """Two found, two missed, two made up; the smaller come first in the array, or last."""
    prediction, reference = np.zeros((2, 3, 16, 9), bool)
    reference[0, 0, :2] = prediction[0, 4, :7] = reference[0, 8, :5] = prediction[0, 12, :3] = True
    for row, voxels in ((0, 4), (8, 6)):
        reference[2, row, :voxels] = prediction[2, row, :voxels] = True
    for flipped in (slice(None), slice(None, None, -1)):
        got = measure(prediction[:, flipped], reference[:, flipped])
        assert sizes(got) == [(6, 6), (4, 4), (5, 0), (2, 0), (0, 7), (0, 3)]
        assert numbers(got) == approx([4, 4, 2, 0.5, 0.5, 1.0])


def test_a_blob_that_covers_two_lesions_finds_one() -> None:
    """14 voxels: lesions of 8 and 4, and the 2 between. IoU 8 / 14 and 4 / 14."""
    reference, prediction = np.zeros((2, 9, 3, 2), bool)
    reference[0:4, :2, 0] = reference[5:7, :2, 0] = prediction[0:7, :2, 0] = True
    for least_iou in (0.0, 0.2, 0.5, 8 / 14):
        got = measure(prediction, reference, least_iou)
        assert numbers(got) == approx([2, 1, 1, 2 / 3, (8 / 14) / 1.5, 16 / 22])
        assert sizes(got) == [(8, 14), (4, 0)]
    none = measure(prediction, reference, 0.6)
    assert numbers(none) == approx([2, 1, 0, 0, 0, math.nan])
    assert sizes(none) == [(8, 0), (4, 0), (0, 14)]
    pieces = measure(reference, prediction)  # one lesion, predicted in two
    assert numbers(pieces) == approx([1, 2, 1, 2 / 3, (8 / 14) / 1.5, 16 / 22])


@pytest.mark.parametrize("apart", [(1, 0, 0), (0, 1, 1), (1, -1, 0), (1, 1, 1), (1, -1, -1)])
def test_voxels_that_touch_are_one_lesion(apart: tuple[int, int, int]) -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = mask[tuple(np.add(2, apart))] = True
    assert sizes(measure(mask, mask)) == [(2, 2)]
    mask = np.zeros((5, 5, 5), bool)
    mask[tuple(np.subtract(2, apart))] = mask[tuple(np.add(2, apart))] = True  # one between them
    assert sizes(measure(mask, mask)) == [(1, 1), (1, 1)]


def test_an_iou_of_exactly_the_least_counts() -> None:
    """3 voxels and 3, shifted by 1: 2 in common of 4. And 5 of 5 and 3: 3 / 5, 0.6."""
    shifted = line((0, 2)), line((1, 3))
    assert measure(*shifted, 0.5).found == 1
    assert measure(*shifted, 0.5 + 1e-9).found == 0
    assert measure(line((0, 4)), line((1, 3)), 0.6).found == 1
    assert measure(line((0, 4)), line((0, 4)), 1.0).found == 1
    assert measure(line((0, 4)), line((0, 3)), 1.0).found == 0


def test_with_least_iou_0_each_lesion_is_found_once_the_best_first() -> None:
    """IoU of the reference's 5..12 with 2..9: 5 / 11, with 11..15: 2 / 11; of 0..3 with 2..9: 0.2.

    Two pairs would be possible, but the best pair leaves none.
    """
    reference, prediction = line((0, 3), (5, 12)), line((2, 9), (11, 15))
    got = measure(prediction, reference, 0.0)
    assert numbers(got) == approx([2, 2, 1, 0.5, (5 / 11) / 2, 10 / 16])
    assert sizes(got) == [(8, 8), (4, 0), (0, 5)]
    # Crosswise: 0..5 with 4..8 has 2 / 9, with 0..1 2 / 6; 7..9 with 4..8 has 2 / 6.
    crossed = measure(line((0, 1), (4, 8)), line((0, 5), (7, 9)), 0.0)
    assert numbers(crossed) == approx([2, 2, 2, 1.0, 1 / 3, 0.5])
    assert sorted(sizes(crossed)) == [(3, 5), (6, 2)]
    # Neighbours that have no voxel in common are not the same.
    assert measure(line((0, 3)), line((4, 7)), 0.0).found == 0


def test_nothing_there() -> None:
    empty, one = line(), line((2, 4), (8, 8))
    assert numbers(measure(empty, empty)) == approx([0, 0, 0, math.nan, math.nan, math.nan])
    assert numbers(measure(empty, one)) == approx([2, 0, 0, 0.0, 0.0, math.nan])
    assert numbers(measure(one, empty)) == approx([0, 2, 0, 0.0, 0.0, math.nan])


def test_what_cannot_be() -> None:
    for least_iou in (-0.1, 1.1):
        with pytest.raises(ConfigError):
            measure(line(), line(), least_iou)
    with pytest.raises(ImageError):
        measure(line(), line()[1:])


Voxels = frozenset[tuple[int, ...]]
NONE: Voxels = frozenset()
Pair = tuple[int, int]
Masks = tuple[np.ndarray, np.ndarray]


def lesions_of(mask: np.ndarray) -> list[Voxels]:
    """Components by flood fill, one voxel after the other."""
    left = {tuple(int(number) for number in index) for index in np.argwhere(mask)}
    steps = list(itertools.product((-1, 0, 1), repeat=3))
    lesions = []
    while left:
        edge = [left.pop()]
        lesion = set(edge)
        while edge:
            at = edge.pop()
            near = {tuple(a + b for a, b in zip(at, step, strict=True)) for step in steps} & left
            left -= near
            lesion |= near
            edge += near
        lesions.append(frozenset(lesion))
    return lesions


def ways_to_pair(ious: dict[Pair, Fraction]) -> set[frozenset[Pair]]:
    """What taking the best pair again and again can lead to: where two are as good, both ways."""
    if not ious:
        return {frozenset()}
    best = [pair for pair, iou in ious.items() if iou == max(ious.values())]
    alone = [p for p in best if sum(p[0] == q[0] or p[1] == q[1] for q in best) == 1]
    ways = set()
    for one, two in alone[:1] or best:  # what is in nobody's way can come first
        left = {pair: iou for pair, iou in ious.items() if pair[0] != one and pair[1] != two}
        ways |= {way | {(one, two)} for way in ways_to_pair(left)}
    return ways


def row_of(truth: Voxels, guess: Voxels) -> tuple[float, ...]:
    """Volumes, IoU, Dice and centre of a lesion; an empty set where it is not."""
    common = len(truth & guess)
    volumes = np.array([len(truth), len(guess)]) * VOXEL_ML
    overlap = common / len(truth | guess), 2 * common / (len(truth) + len(guess))
    return (*volumes, *overlap, *(SHEARED @ [*np.mean(list(truth or guess), axis=0), 1])[:3])


def row(one: Lesion) -> tuple[float, ...]:
    return (one.reference_ml, one.prediction_ml, one.iou, one.dice, *one.centre_mm)


def in_order(rows: Iterable[tuple[float, ...]]) -> np.ndarray:
    return np.array(sorted(rows, key=lambda row: [round(number, 6) for number in row]))


shapes = st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(1, 5))
scenes = st.tuples(st.integers(0, 2**32 - 1), shapes, st.floats(0.0, 0.35), st.floats(0.0, 0.25))


def masks_of(scene: tuple[int, tuple[int, int, int], float, float]) -> Masks:
    """The prediction and the reference, which differ in some of the voxels."""
    seed, shape, fill, changed = scene
    rng = np.random.default_rng(seed)
    reference = rng.random(shape) < fill
    prediction = np.where(rng.random(shape) < changed, rng.random(shape) < fill, reference)
    return prediction, reference


@settings(max_examples=150, deadline=None)
@given(scenes.map(masks_of), st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]))
def test_an_independent_implementation(masks: Masks, least_iou: float) -> None:
    prediction, reference = masks
    truths, guesses = lesions_of(reference), lesions_of(prediction)
    ious = {
        (one, two): Fraction(len(truth & guess), len(truth | guess))
        for one, truth in enumerate(truths)
        for two, guess in enumerate(guesses)
        if truth & guess and Fraction(len(truth & guess), len(truth | guess)) >= least_iou
    }
    got = lesion_metrics(prediction, reference, affine=SHEARED, least_iou=least_iou)
    assert (got.reference, got.prediction) == (len(truths), len(guesses))
    ways = []
    for pairs in ways_to_pair(ious):
        ones, twos = {one for one, _ in pairs}, {two for _, two in pairs}
        rows = [row_of(truths[one], guesses[two]) for one, two in pairs]
        rows += [row_of(truth, NONE) for one, truth in enumerate(truths) if one not in ones]
        rows += [row_of(NONE, guess) for two, guess in enumerate(guesses) if two not in twos]
        ways.append(in_order(rows))
    mine = in_order(map(row, got.lesions))
    assert any(mine.shape == way.shape and np.allclose(mine, way, atol=1e-9) for way in ways)
    found = [one for one in got.lesions if one.iou > 0]
    mean = (got.reference + got.prediction) / 2 or math.nan
    dice = sum(one.dice for one in found) / len(found) if found else math.nan
    wanted = [len(found), len(found) / mean, sum(one.iou for one in found) / mean, dice]
    assert numbers(got, NAMES[2:]) == approx(wanted)
    # Found, missed, made up; of the latter two the largest first.
    volumes = [row(one)[:2] for one in got.lesions]
    order = [(r == 0, p == 0, -max(r, p) if r * p == 0 else 0) for r, p in volumes]
    assert order == sorted(order)


@settings(max_examples=50, deadline=None)
@given(scenes.map(masks_of), st.permutations(range(3)), st.floats(0.501, 1))
def test_turning_and_swapping(masks: Masks, axes: list[int], least_iou: float) -> None:
    """Above 0.5 there is one way to pair lesions."""
    got = measure(*masks, least_iou)
    spacing = [SPACING[axis] for axis in axes]
    flipped = [mask.transpose(axes)[::-1, :, ::-1] for mask in masks]
    turned = lesion_metrics(*flipped, spacing_mm=spacing, least_iou=least_iou)
    assert numbers(turned) == approx(numbers(got))
    assert sizes(turned) == sizes(got)
    swapped = measure(*masks[::-1], least_iou)
    assert numbers(swapped) == approx(numbers(got, (NAMES[1], NAMES[0], *NAMES[2:])))


def test_hundreds_of_lesions_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    prediction, reference = (rng.random((50, 40, 30)) < 0.02 for _ in range(2))
    got = measure(prediction, reference, 0.0)
    counts = [ndimage.label(mask, np.ones((3, 3, 3)))[1] for mask in (reference, prediction)]
    assert [got.reference, got.prediction] == counts
    assert min(counts) > 300
    assert np.sum(sizes(got), axis=0).tolist() == [reference.sum(), prediction.sum()]


def test_through_case_metrics() -> None:
    """Lesions of the declared label alone, with its least IoU; centres in the whole map's grid."""
    rng = np.random.default_rng(1)
    maps = []
    for noise in ndimage.gaussian_filter(rng.normal(size=(2, 24, 22, 20)), (0, 1.2, 1.2, 1.2)):
        label_map = np.zeros((40, 30, 50), np.uint8)
        label_map[9:33, 5:27, 21:41] = np.where(noise > 0.13, 1, np.where(noise < -0.12, 2, 0))
        maps.append(label_map)
    maps[0][9:20] = maps[1][9:20]

    def both(measured: Measured) -> list[LabelMetrics]:
        names = {"liver": 1, "tumour": 2}
        return case_metrics(maps[0], maps[1], labels=names, affine=SHEARED, measured=measured)

    assert [one.lesions for one in both(Measured())] == [None, None]
    for least_iou in (0.3, 0.9):
        liver, tumour = both(Measured(lesions={"tumour": least_iou}))
        whole = lesion_metrics(maps[0] == 2, maps[1] == 2, affine=SHEARED, least_iou=least_iou)
        assert liver.lesions is None
        assert tumour.lesions is not None
        assert 0 < whole.found < whole.reference
        assert numbers(tumour.lesions) == approx(numbers(whole))
        rows = [row(one) for one in whole.lesions]
        np.testing.assert_allclose([row(one) for one in tumour.lesions.lesions], rows)
    measured = Measured.of({"tumour": {"lesions": True}}, ["background", "tumour"])
    empty = np.zeros((3, 3, 3), np.uint8)
    none = case_metrics(empty, empty, labels={"tumour": 2}, affine=SHEARED, measured=measured)[0]
    assert none.lesions is not None
    assert numbers(none.lesions) == approx([0, 0, 0, math.nan, math.nan, math.nan])
