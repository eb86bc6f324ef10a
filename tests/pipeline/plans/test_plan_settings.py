"""Settings put over a plan's: those of any plan, whatever the dataset's file says already."""

import contextlib
import dataclasses
from pathlib import Path

import pytest
import yaml

from gridgate.data.errors import ConfigError
from gridgate.pipeline.plans.plan import Plan, example_plan
from gridgate.pipeline.plans.plan_settings import check_settings, with_settings
from gridgate.pipeline.plans.planning import DATASETS, new_plan_settings
from gridgate.pipeline.plans.writing import bundle_files

ELSEWHERE = {"name", "network", "training", "dataset"}
GRID = {"spacing": [1.0, 1.0, 2.0], "roi_size": [32, 32, 16]}
NO_AXES = (2, "x", None, [3], [-1], [0, 0], [1.0], [True], {0: 1})
OF_A_KIND: dict[str, object] = {
    "channels": 2,
    "overlap": [0.5, 0.25, 0],
    "mirror_axes": [0, 2],
    "test_mirror_axes": [],
    "side_pairs": [[1, 2]],
    "foreground": 0.1,
    "body_threshold": None,
    "interpolate_probabilities": True,
    "fast_resampling": False,
    "keep_largest": [1, 2],
    "expected": {"liver": {}},
    "measured": {},
    "terminology": None,
    "merge_labels": {-1: "background"},
    "references": ["a paper"],
}


@pytest.mark.parametrize(
    "name", sorted({one.name for one in dataclasses.fields(Plan)} - ELSEWHERE - set(GRID))
)
def test_each_setting_of_a_plan_can_be_given(name: str) -> None:
    value = OF_A_KIND.get(name, "x")
    check_settings({name: value})  # what it is worth the plan says
    assert with_settings(new_plan_settings("unet", "phantom"), {name: value})[name] == value


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
        *[(name, value) for name in ("mirror_axes", "test_mirror_axes") for value in NO_AXES],
        *[("overlap", value) for value in ("half", None, 1, -0.1, True, [0.5, 0.5], [0.5] * 4)],
        *[("channels", value) for value in ("two", 0, 1.5, None, True, [1])],
        *[("keep_largest", value) for value in ("yes", None, 1)],
        *[("interpolate_probabilities", value) for value in ("no", 0)],
        *[(name, value) for name in ("expected", "measured") for value in (2, "x", [1], {1: {}})],
        ("side_pairs", [1, 2]),
        ("foreground", "air"),
        ("training::accumulation_steps", 0),
        ("training::learning_rate", "fast"),
        ("training::loss", "off"),
        ("network::align_corners", "no"),
    ],
)
def test_what_is_no_setting_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError):
        check_settings({name: value})


ODD: list[object] = [2, -1, 1.5, "x", "", True, None, [], {}, [1], ["x"], [None], [[1]], {"x": 1}]


@pytest.mark.parametrize("name", [one.name for one in dataclasses.fields(Plan)])
def test_a_value_of_any_kind_is_taken_or_refused_in_words(name: str) -> None:
    """And what is taken makes a bundle: nothing ends in an error deep in its writing."""
    settings = new_plan_settings("attention_unet", "btcv")
    for value in ODD:
        with contextlib.suppress(ConfigError):
            bundle_files(Plan.from_dict({**settings, name: value}))


@pytest.mark.parametrize(
    ("network", "option", "says"),
    [
        ("attention_unet", "norn", "Did you mean --network::norm?"),
        ("attention_unet", "in_channels", "no such option"),
        ("unetr", "img_size", "give --roi_size"),
        ("SegResNet", "feature_scale", "init_filters"),  # of attention_unet
        ("segresnet", "norm", "Did you mean 'SegResNet'?"),
    ],
)
def test_options_of_networks_are_those_of_each_that_is_planned(
    network: str, option: str, says: str
) -> None:
    with pytest.raises(ConfigError) as told:
        check_settings({f"network::{option}": 2}, [network])
    assert says in str(told.value)
    with pytest.raises(ConfigError):
        check_settings({f"network::{option}": 2}, ["DynUNet", network])


@pytest.mark.parametrize("name", ["name", "spatial_dims"])
def test_what_says_it_instead_is_an_option_of_the_same_command(name: str) -> None:
    plan = new_plan_settings("unet", "phantom")
    with pytest.raises(ConfigError) as of_new_bundle:
        with_settings(plan, {f"network::{name}": 2})
    with pytest.raises(ConfigError) as of_planning:
        check_settings({f"network::{name}": 2})
    new, planned = str(of_new_bundle.value), str(of_planning.value)
    assert ("first word" if name == "name" else "give --spatial-dims") in new
    assert "first word" not in planned and "give --spatial-dims" not in planned
    assert ("--network NAME" if name == "name" else "gridgate new-bundle") in planned


def of_a_file(folder: Path, text: str) -> Path:
    """The file of BTCV with some of its lines replaced."""
    replaced = {line.split(":")[0] for line in text.splitlines() if not line.startswith(" ")}
    facts = yaml.safe_load((DATASETS / "btcv.yaml").read_text(encoding="utf-8"))
    rest = yaml.safe_dump({key: one for key, one in facts.items() if key not in replaced})
    path = folder / "mine.yaml"
    path.write_text(f"{rest}{text}", encoding="utf-8")
    return path


def test_a_datasets_file_is_yaml_1_2(tmp_path: Path) -> None:
    """In YAML 1.1 1e-5 is text, no is false, and 010 is 8."""
    text = "training:\n  weight_decay: 1e-5\n  learning_rate: 2E-4\nlabels: [background, no, 010]\n"
    path = of_a_file(tmp_path, text + "expected: null\n")
    plan = Plan.from_dict(new_plan_settings("unet", str(path)))
    assert plan.training["weight_decay"] == 1e-5 and plan.training["learning_rate"] == 2e-4
    assert plan.labels == ["background", "no", "010"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training: {weight_decay: small}", "mine.yaml: weight_decay small: a number of 0 or more"),
        ("training: {flips: yes}", "mine.yaml: training::flips yes: write True or False"),
        ("training: 5", "mine.yaml: training 5: a mapping is wanted"),
        ("labels: liver", "mine.yaml: labels 'liver': a list is wanted"),
        ("keep_largest: yes", "mine.yaml: keep_largest 'yes': True, False, or a list"),
        ("overlap: half", "mine.yaml: overlap 'half': a number from 0 to below 1"),
        ("mirror_axes: 2", "mine.yaml: mirror_axes 2: a list of axes"),
        ("roi_size: [96, 96]", "mine.yaml: roi_size [96, 96]: three whole numbers"),
        ("spacing: [1, 1, 1]\nspacing: [2, 2, 2]", "is there twice"),
    ],
)
def test_a_wrong_value_of_a_datasets_file_is_told_with_the_file(
    text: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as told:
        new_plan_settings("unet", str(of_a_file(tmp_path, f"{text}\n")))
    assert says in str(told.value)


def test_words_for_switches_of_a_network_are_refused() -> None:
    """They are text, and a network would take each of them for yes."""
    with pytest.raises(ConfigError, match="network::deep_supervision no: write True or False"):
        Plan.from_dict(
            {**example_plan(), "network": {"name": "unet_plus_plus", "deep_supervision": "no"}}
        )
