"""Colours: of the name alone, no two alike in a bundle, left and right of one hue."""

import colorsys
import itertools

import highdicom as hd
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.label_tables.colors import BACKGROUND, cielab, color_of, colors_of
from gridgate.data.label_tables.known import ABNORMAL, ANATOMY

NAMES = st.lists(st.text(min_size=1), min_size=1, max_size=12, unique=True)


@given(names=NAMES, data=st.data())
def test_a_name_has_its_colour_in_whatever_bundle_it_is(
    names: list[str], data: st.DataObject
) -> None:
    colors = dict(zip(names, colors_of(["background", *names])[1:], strict=True))
    shuffled = data.draw(st.permutations(names))
    assert colors_of(["background", *shuffled])[1:] == [colors[name] for name in shuffled]
    assert len({BACKGROUND, *colors.values()}) == len(names) + 1
    if len({color_of(name) for name in names}) == len(names):  # none had to give way
        assert all(color_of(name) == color for name, color in colors.items())
        some = names[: data.draw(st.integers(1, len(names)))]
        assert colors_of(["background", *some])[1:] == [colors[name] for name in some]


@given(name=st.text())
def test_colours_are_bytes_and_not_the_backgrounds(name: str) -> None:
    color = color_of(name)
    assert color != BACKGROUND and len(color) == 3
    assert all(isinstance(one, int) and 0 <= one <= 255 for one in color)


def test_colours_of_names_stay_what_they_are() -> None:
    """The docs tell them; a change would mix colours in folders of masks of two versions."""
    assert color_of("liver") == color_of("Liver ") == (193, 92, 57)
    assert color_of("Left_Kidney") == color_of("kidney (L)") == (214, 161, 94)
    assert color_of("right kidney") == (156, 101, 31)
    assert color_of("spleen") == (150, 80, 160)
    assert color_of("anterior") == (180, 137, 47)


@pytest.mark.parametrize("name", ["kidney", "lung", "gizmo", "rib 7", "duodenum", "肺"])
def test_left_is_lighter_and_right_darker(name: str) -> None:
    plain, left, right = (
        colorsys.rgb_to_hsv(*(one / 255 for one in color_of(one)))
        for one in (name, f"{name} left", f"right {name}")
    )
    assert right[2] < plain[2] <= left[2] and left[1] < plain[1]
    assert left[0] == pytest.approx(plain[0], abs=0.02) == pytest.approx(right[0], abs=0.04)


def test_known_organs_look_different() -> None:
    colors = [np.array(row[3]) for row in (*ANATOMY, *ABNORMAL)]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(colors, 2))
    assert nearest > 30


def test_other_names_are_spread_over_the_colours() -> None:
    hues = [colorsys.rgb_to_hsv(*color_of(f"organ {k}"))[0] for k in range(600)]
    counts, _ = np.histogram(hues, bins=12, range=(0, 1))
    assert counts.min() > 25
    assert len({color_of(f"organ {k}") for k in range(600)}) > 590


def test_names_that_mean_the_same_give_way_by_their_order_in_the_alphabet() -> None:
    one, other = colors_of(["background", "liver", "Liver"])[1:]
    assert one != other == color_of("liver")
    assert colors_of(["background", "Liver", "liver"])[1:] == [other, one]


@given(color=st.tuples(*[st.integers(0, 255)] * 3))
def test_lab_values_are_those_of_highdicom(color: tuple[int, int, int]) -> None:
    expected = hd.color.CIELabColor.from_rgb(*color).value
    np.testing.assert_allclose(cielab(color), expected, atol=40)  # of 65535
    assert hd.color.CIELabColor.from_dicom_value(cielab(color)).to_rgb() == pytest.approx(
        color, abs=1
    )
