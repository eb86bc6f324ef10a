"""Labels with sides in mirrored windows: exchanged, whatever their form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.errors import ConfigError
from gridgate.transforms import ClassIndicesd, augmentation
from gridgate.transforms.windows.sides import Sides, refuse_lost_sides

LABELS = ["background", "right_kidney", "left_kidney", "aorta"]


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=30))
def test_values_are_exchanged_as_a_table_says(values: list[int]) -> None:
    table = {1: 4, 4: 1, 2: 6, 6: 2}
    found = Sides(((1, 4), (6, 2))).exchanged(torch.tensor(values, dtype=torch.float32))
    assert found.tolist() == [table.get(value, value) for value in values]


@given(st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=20))
def test_bits_are_exchanged_as_sets_of_regions(regions: list[set[int]]) -> None:
    bits = torch.tensor([sum(1 << number for number in one) for one in regions])
    table = {0: 3, 3: 0, 1: 2, 2: 1}
    found = Sides(((1, 4), (2, 3)), regions=True).exchanged(bits.float())
    expected = [sum(1 << table.get(number, number) for number in one) for one in regions]
    assert found.tolist() == expected


def test_voxels_that_do_not_count_stay_so() -> None:
    labels = torch.tensor([-1.0, 1.0, 2.0, 3.0])
    assert Sides(((1, 2),), regions=True).exchanged(labels).tolist() == [-1, 2, 1, 3]


@pytest.mark.parametrize(("orientation", "axis"), [("RAS", 0), ("LPS", 0), ("PIR", 2), ("SLA", 1)])
def test_the_axis_is_that_of_left_and_right(orientation: str, axis: int) -> None:
    assert Sides.of([[1, 2]], orientation=orientation).axis == axis


@pytest.mark.parametrize(
    "pairs", [[[1]], [[1, 2, 3]], [[1, 1]], [[1, 2], [2, 3]], [[0, 1]], [["a", 1]]]
)
def test_what_is_no_pair_is_refused(pairs: list[list[int]]) -> None:
    with pytest.raises(ConfigError, match="side_pairs"):
        Sides.of(pairs)


def test_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="labels 3 and 4 are not among 4 channels"):
        Sides(((3, 4),)).order(4)


def test_sides_that_would_be_lost_are_refused() -> None:
    with pytest.raises(ConfigError, match="right_kidney is called left_kidney"):
        refuse_lost_sides(LABELS, Sides.of([]), [0, 1])
    refuse_lost_sides(LABELS, Sides.of([[1, 2]]), [0, 1])
    refuse_lost_sides(LABELS, Sides.of([[2, 1]]), [0])
    refuse_lost_sides(LABELS, Sides.of([]), [1, 2])
    refuse_lost_sides(LABELS, Sides.of([], orientation="ARS"), [0, 2])


def test_names_tell_the_pairs() -> None:
    assert Sides.of(None, labels=LABELS).pairs == ((1, 2),)
    assert Sides.of(None, labels=["background", "liver"]).pairs == ()
    assert Sides.of(None).pairs == ()
    assert Sides.of([], labels=LABELS).pairs == ()


@pytest.mark.parametrize("orientation", ["RAS", "ARS"])
def test_a_window_knows_its_sides(orientation: str) -> None:
    """Bright voxels are the right kidney, wherever they are; mirrored, they are the left one."""
    label = torch.zeros(1, 8, 8, 8)
    label[0, :3], label[0, 5:], label[0, 3:5, 3:5] = 1, 2, 3
    if orientation == "ARS":
        label = label.transpose(1, 2).contiguous()
    case = {"image": label + torch.where(label == 1, 10.0, 0.0), "label": label}
    case = ClassIndicesd("label", label_count=4)(case)
    draw = augmentation(
        roi_size=(8, 8, 8),
        label_count=4,
        mirror_axes=[0, 1],
        rotation_probability=0,
        scale_probability=0,
        intensity=False,
        side_pairs=[[1, 2]],
        orientation=orientation,
    )
    axis = orientation.index("R")
    seen = set()
    for seed in range(20):
        draw.set_random_state(seed=seed)
        window = draw({**case, "annotated": [True, True, False, True]})
        there = window["label"].numpy()
        first = np.take(there, 0, axis + 1)
        assert set(np.unique(first)) == {1}  # low indices are still the right side's
        mirrored = bool((np.take(window["image"].numpy(), 0, axis + 1) == 2).all())
        told = [bool(one) for one in window["annotated"]]
        assert told == ([True, False, True, True] if mirrored else [True, True, False, True])
        seen.add(mirrored)
    assert seen == {True, False}
