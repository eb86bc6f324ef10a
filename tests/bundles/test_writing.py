"""The template: the committed bundles are what it makes, and no number is said twice in them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser

from gridgate.data.errors import ConfigError
from gridgate.pipeline.plans.bundle_folders import shipped_bundles
from gridgate.pipeline.plans.plan import WEIGHT_FIELDS, Plan
from gridgate.pipeline.plans.planning import FOLDER, PLANS, read_plan
from gridgate.pipeline.plans.writing import bundle_files, committed_files, write_bundle

BUNDLES = sorted(path.stem for path in PLANS.glob("*.yaml"))

each_bundle = pytest.mark.parametrize("name", BUNDLES)


def leaves(config: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Where each value of a config stands; a list of numbers is one value."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from leaves(value, (*place, str(key)))
    elif isinstance(config, list) and any(not isinstance(value, (int, float)) for value in config):
        for index, value in enumerate(config):
            yield from leaves(value, (*place, str(index)))
    else:
        yield place, config


def test_each_plan_has_its_bundle_and_each_bundle_its_plan() -> None:
    assert [path.name for path in shipped_bundles()] == BUNDLES
    assert len(BUNDLES) == 10


@each_bundle
def test_a_committed_bundle_is_what_the_template_makes(name: str, tmp_path: Path) -> None:
    wanted = committed_files(PLANS / f"{name}.yaml")
    for file, text in wanted.items():
        assert (FOLDER / name / file).read_text() == text, (
            f"{file}: run python -m gridgate.pipeline.plans.writing"
        )
    configs = {f"configs/{path.name}" for path in (FOLDER / name / "configs").iterdir()}
    assert configs == {file for file in wanted if file.startswith("configs/")}
    made = write_bundle(read_plan(PLANS / f"{name}.yaml"), tmp_path / "made")
    assert {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()} == set(
        wanted
    )


def test_a_plan_that_lacks_a_setting_is_refused(tmp_path: Path) -> None:
    plan = read_plan(PLANS / f"{BUNDLES[0]}.yaml")
    training = {key: value for key, value in plan.training.items() if key != "epochs"}
    with pytest.raises(ConfigError, match=f"plan {BUNDLES[0]}: lacks 'epochs'"):
        bundle_files(plan.replace(training=training))
    values = plan.to_dict()
    del values["spacing"]
    with pytest.raises(ConfigError, match=f"plan {BUNDLES[0]}: lacks 'spacing'"):
        Plan.from_dict(values)
    with pytest.raises(ConfigError, match="intensity lacks 'mode'"):
        plan.replace(intensity={})
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"list\.yaml"):
        read_plan(tmp_path / "list.yaml")


@each_bundle
def test_numbers_of_the_plan_arrive_as_numbers(name: str) -> None:
    # YAML takes 1e-05 for text
    plan = read_plan(PLANS / f"{name}.yaml")
    train = yaml.safe_load((FOLDER / name / "configs" / "train.yaml").read_text())
    for key, value in plan.training.items():
        found = train["train"]["loss"]["name"] if key == "loss" else train[key]
        assert found == value and type(found) is type(value), key


@each_bundle
@pytest.mark.parametrize("config", ["train.yaml", "evaluate.yaml", "inference.yaml"])
def test_each_config_holds_the_plans_numbers_itself(name: str, config: str) -> None:
    # tools such as MONAI Label read one config without the metadata
    plan = read_plan(PLANS / f"{name}.yaml")
    text = (FOLDER / name / "configs" / config).read_text()
    assert "_meta_" not in text
    found = yaml.safe_load(text)
    imported = {"nnunet", "parts"}  # numbers of imported models alone
    assert not imported & set(found)
    for key in set(WEIGHT_FIELDS) - imported:
        key_there = "architecture" if key == "network" else key
        assert found[key_there] == getattr(plan, key), key
        assert key == "network" or found["plan"][key] == f"@{key_there}"
    parser = ConfigParser(found)
    resolved = parser.get_parsed_content("plan")
    assert resolved.fingerprint == plan.fingerprint
    assert (
        json.loads((FOLDER / name / "configs" / "metadata.json").read_text())["fingerprint"]
        == plan.fingerprint
    )


@each_bundle
def test_the_page_names_the_bundle_and_leaves_no_place_unfilled(name: str) -> None:
    for path in (FOLDER / name).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pt":
            assert "<<" not in path.read_text() and "<%" not in path.read_text(), path
    page = (FOLDER / name / "docs" / "README.md").read_text()
    title = json.loads((FOLDER / name / "configs" / "metadata.json").read_text())["name"]
    assert page.startswith(f"# {title}\n")
    assert f"gridgate train {name} D O" in page
