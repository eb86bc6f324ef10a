"""Settings put over a plan's: those of any plan, whatever the dataset's file says already."""

import dataclasses

import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.plans.plan import Plan
from gridgate.pipeline.plans.plan_settings import check_settings, with_settings
from gridgate.pipeline.plans.planning import new_plan_settings

ELSEWHERE = {"name", "network", "training", "dataset"}
GRID = {"spacing": [1.0, 1.0, 2.0], "roi_size": [32, 32, 16]}


@pytest.mark.parametrize(
    "name", sorted({one.name for one in dataclasses.fields(Plan)} - ELSEWHERE - set(GRID))
)
def test_each_setting_of_a_plan_can_be_given(name: str) -> None:
    check_settings({name: "x"})  # what it is worth the plan says
    assert with_settings(new_plan_settings("unet", "phantom"), {name: "x"})[name] == "x"


@pytest.mark.parametrize(
    "given",
    [
        GRID,
        {"spacing": None},
        {"training::accumulation_steps": 4, "training::patience": 3},
        {"training::loss": "dice_ce"},
        {"network::feature_scale": 8},
    ],
)
def test_settings_of_parts_of_it(given: dict[str, object]) -> None:
    check_settings(given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, "x") for name in (*sorted(ELSEWHERE), "treshold", "training::epoch")],
        *[("roi_size", value) for value in (96, [96, 96], [1, 2, 0], [1, 2, 1.5], "96", None)],
        *[("spacing", value) for value in (1.5, [1, 1], [1, 1, -1], ["a", "b", "c"])],
        ("training::accumulation_steps", 0),
        ("training::learning_rate", "fast"),
    ],
)
def test_what_is_no_setting_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError):
        check_settings({name: value})
