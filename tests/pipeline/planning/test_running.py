"""How the trained bundle is run: by what the plan measured."""

import pytest

from gridgate.pipeline.planning.decisions.running import decide_test_mirror_axes
from gridgate.pipeline.planning.measures.pace import Pace


def pace(case: float) -> Pace:
    return Pace(iteration=0.5, validation=5.0, reading=1.0, case=case)


@pytest.mark.parametrize(
    ("axes", "seconds", "wanted"),
    [
        ([0], 2.4, [0]),  # two flips: 4.8 s
        ([0], 2.6, []),
        ([0, 1, 2], 0.6, [0, 1, 2]),  # eight flips: 4.8 s
        ([0, 1, 2], 0.7, []),
        ([], 0.01, []),
    ],
)
def test_flips_that_take_five_seconds_at_most(
    axes: list[int], seconds: float, wanted: list[int]
) -> None:
    assert decide_test_mirror_axes(axes, pace(seconds)).value == wanted


def test_the_reason_tells_the_time_and_how_to_ask_for_it() -> None:
    reason = decide_test_mirror_axes([1, 2], pace(3.0)).reason
    assert "4 flips would take 12 s" in reason and "--mirror_axes" in reason


def test_nothing_is_mirrored_where_no_time_was_measured() -> None:
    assert decide_test_mirror_axes([0], None).value == []
