"""The plan: what weights are made for, by whatever way its numbers were written."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser

from gridgate.data.errors import CheckpointError, ConfigError
from gridgate.pipeline.models.build import build_network
from gridgate.pipeline.models.checkpoints import carry_plan, load_weights
from gridgate.pipeline.plans.bundle_folders import bundle_path
from gridgate.pipeline.plans.plan import WEIGHT_FIELDS, Plan, example_plan, plan_differences
from gridgate.pipeline.plans.resolved import bundle_plan, edited_settings, resolved_plan
from gridgate.pipeline.plans.writing import bundle_files, write_bundle

OTHER: dict[str, Any] = {
    "channels": 2,
    "foreground": 0.1,
    "intensity": {"mode": "window", "low": -160, "high": 250},
    "labels": ["background", "spleen"],
    "network": {"name": "unet", "feature_scale": 4},
    "nnunet": {"transpose": [2, 1, 0]},
    "orientation": "LPS",
    "output_channels": 1,
    "parts": [{"values": [0, 1]}],
    "region_values": [3],
    "roi_size": [64, 64, 32],
    "spacing": [1.5, 1.5, 2.5],
}


@pytest.fixture
def plan() -> Plan:
    return Plan.from_dict(example_plan())


@pytest.mark.parametrize("name", WEIGHT_FIELDS)
def test_each_number_that_weights_are_made_for_changes_the_fingerprint(
    plan: Plan, name: str
) -> None:
    if name in ("nnunet", "parts"):
        plan = plan.replace(nnunet={"transpose": [0, 1, 2]}, orientation=None)
    other = plan.replace(**{name: OTHER[name]})
    assert other.fingerprint != plan.fingerprint
    told = plan_differences(plan.to_dict(), other)
    assert any(one.startswith(name) and "now" in one for one in told)
    assert len(told) == (2 if name == "region_values" else 1)  # a region has no background beside


def test_regions_have_a_channel_each(plan: Plan) -> None:
    regions = plan.replace(labels=["background", "a", "b"], region_values=[2, 1])
    assert regions.weight_values()["output_channels"] == 2
    assert plan.fingerprint == "957f819194e8"  # as before there were regions
    for values in ([1], [1, 1], [0, 1], [1.5, 2]):
        with pytest.raises(ConfigError, match="region_values"):
            plan.replace(labels=["background", "a", "b"], region_values=values)
    with pytest.raises(ConfigError, match="2, one per label"):
        regions.replace(output_channels=3)


def test_imported_models_have_no_orientation_and_parts_with_labels_of_the_whole(plan: Plan) -> None:
    with pytest.raises(ConfigError, match="orientation 'RAS': nnU-Net's plans order the axes"):
        plan.replace(nnunet={})
    with pytest.raises(ConfigError, match="orientation None"):
        plan.replace(orientation=None)
    imported = plan.replace(nnunet={}, orientation=None)
    assert imported.replace(fast_resampling=True).fingerprint == imported.fingerprint
    for parts in ([], [{"values": [0, 2]}], [{"values": [1]}], [{"values": [0, 1], "lables": 1}]):
        with pytest.raises(ConfigError, match="parts"):
            imported.replace(parts=parts)
    with pytest.raises(ConfigError, match="only nnU-Net's models"):
        plan.replace(parts=[{"values": [0, 1]}])


def test_how_a_number_is_written_changes_nothing(plan: Plan) -> None:
    same = plan.replace(
        spacing=(1.5, 1.5, 2),
        roi_size=[64.0, 64, 64],
        intensity={"high": 250.0, "low": -175.0, "mode": "window"},
    )
    assert same.fingerprint == plan.fingerprint
    read_back = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert read_back == plan and read_back.fingerprint == plan.fingerprint
    assert Plan.from_dict(yaml.safe_load(yaml.safe_dump(plan.to_dict()))) == plan


def test_what_only_inference_decides_is_not_in_it(plan: Plan) -> None:
    other = plan.replace(overlap=0.75, keep_largest=True, body_threshold=-400, results="good")
    assert other.fingerprint == plan.fingerprint
    assert plan.replace(smallest_piece={"liver": 0.5}).fingerprint == plan.fingerprint
    regions = plan.replace(region_values=[1])
    assert regions.replace(thresholds=[0.3]).fingerprint == regions.fingerprint


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"labels": ["background"]}, "the background first"),
        ({"labels": ["background", "a", "a"]}, "each once"),
        ({"output_channels": 3}, "2, one per label, are wanted, or 1"),
        ({"orientation": "RAR"}, "three letters"),
        ({"spacing": [1, 0, 1]}, "above 0 in mm"),
        ({"spacing": [1, 1]}, "three numbers"),
        ({"spacing": "1 1 1"}, "three numbers"),
        ({"roi_size": [64, 64]}, "three whole numbers"),
        ({"roi_size": [64, 64, 1.5]}, "three whole numbers"),
        ({"network": {}}, "a network's name"),
        ({"smallest_piece": {"spleen": 1}}, "smallest_piece"),
        ({"smallest_piece": {"liver": -1}}, "no volume"),
        ({"thresholds": [0.4]}, "exclude each other"),
        ({"thresholds": [0.4, 0.5], "output_channels": 1}, "1 of them"),
        ({"thresholds": [1.0], "region_values": [2]}, "above 0 and below 1"),
        ({"thresholds": 0.4, "region_values": [2]}, "a probability above 0"),
        ({"intensity": {}}, "lacks 'mode'"),
        ({"expected": {"spleen": {}}}, "speaks of spleen"),
        (
            {"terminology": {"spleen": {"type": ["SCT", "1", "x"]}}},
            "spleen, which is no foreground",
        ),
        ({"terminology": {"liver": ["SCT", "1", "x"]}}, "plan example: terminology of liver"),
        ({"spaceing": [1, 1, 1]}, "'spaceing' is no setting"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Plan.from_dict(example_plan() | change)


def test_a_config_alone_gives_the_plan_and_overrides_are_in_it(tmp_path: Path) -> None:
    # a copy without metadata.json, as tools that read one file have it
    source = bundle_path("phantom_attention_unet")
    parser = ConfigParser()
    parser.read_config(str(source / "configs" / "inference.yaml"))
    parser["bundle_root"] = str(tmp_path)
    alone = parser.get_parsed_content("plan")
    assert alone.fingerprint == Plan.from_dict(bundle_plan(source)).fingerprint
    parser["spacing"] = [3.0, 3.0, 3.0]
    parser.parse()
    assert parser.get_parsed_content("plan").spacing == [3.0, 3.0, 3.0]
    assert parser.get_parsed_content("plan").fingerprint != alone.fingerprint


def test_what_is_expected_of_labels_that_were_overridden_away_is_dropped() -> None:
    source = bundle_path("phantom_attention_unet")
    settings = bundle_plan(source)
    numbers = {key: settings[key] for key in ("spacing", "roi_size", "intensity", "network")}
    plan = resolved_plan(bundle_root=source, **numbers, labels=["background", "liver", "lesion"])
    assert plan.expected == {"liver": settings["expected"]["liver"]}
    with pytest.raises(ConfigError, match="speaks of aorta"):
        resolved_plan(
            bundle_root=source,
            **numbers,
            labels=["background", "liver"],
            expected={"aorta": {"ml": [1, 2]}},
        )


def test_thresholds_of_channels_that_were_overridden_away_are_dropped(tmp_path: Path) -> None:
    labels = {"labels": ["background", "liver"], "expected": None}
    plan = Plan.from_dict({**bundle_plan(bundle_path("phantom_attention_unet")), **labels})
    pieces = {"liver": 0.25}
    told = plan.replace(region_values=[1], thresholds=[0.3], smallest_piece=pieces)
    write_bundle(told, tmp_path)
    config = yaml.safe_load((tmp_path / "configs" / "inference.yaml").read_text())
    assert config["thresholds"] == [0.3] and config["smallest_piece"] == pieces
    assert "liver 0.3" in (tmp_path / "docs" / "README.md").read_text()
    settings = bundle_plan(tmp_path)
    assert resolved_plan(bundle_root=tmp_path, spacing=[2, 2, 2]).thresholds == [0.3]
    assert resolved_plan(bundle_root=tmp_path, labels=settings["labels"]).thresholds == [0.3]
    assert resolved_plan(bundle_root=tmp_path, region_values=None).thresholds is None
    assert resolved_plan(bundle_root=tmp_path, labels=settings["labels"]).smallest_piece == pieces
    other = resolved_plan(bundle_root=tmp_path, labels=["background", "spleen"])
    assert other.smallest_piece is None and other.thresholds is None


def test_codes_of_labels_are_the_plans_and_no_matter_of_the_weights(
    plan: Plan, tmp_path: Path
) -> None:
    codes = {"liver": {"type": ["SCT", "10200004", "Liver"]}}
    told = plan.replace(terminology=codes)
    assert told.fingerprint == plan.fingerprint
    assert plan_differences(plan.to_dict(), told) == []
    settings = bundle_plan(bundle_path("phantom_attention_unet"))
    whole = Plan.from_dict({**settings, "terminology": codes})
    written = write_bundle(whole, tmp_path / "out")
    for name in ("evaluate", "inference"):
        config = yaml.safe_load((written / "configs" / f"{name}.yaml").read_text())
        assert config["terminology"] == codes
        assert config["postprocessing"]["terminology"] == "@terminology"
    numbers = {key: settings[key] for key in ("spacing", "roi_size", "intensity", "network")}
    again = resolved_plan(bundle_root=written, **numbers, labels=settings["labels"])
    assert again.terminology == codes
    fewer = resolved_plan(bundle_root=written, **numbers, labels=["background", "aorta"])
    assert fewer.terminology == {}
    for nothing in ({}, None):
        assert write_bundle(whole.replace(terminology=nothing), tmp_path / str(nothing))
        text = (tmp_path / str(nothing) / "configs" / "inference.yaml").read_text()
        assert yaml.safe_load(text)["terminology"] == {}


def test_a_bundle_written_from_a_resolved_plan_has_its_numbers(tmp_path: Path) -> None:
    source = bundle_path("phantom_attention_unet")
    settings = bundle_plan(source)
    numbers = {key: settings[key] for key in ("labels", "roi_size", "intensity", "network")}
    plan = resolved_plan(bundle_root=source, **numbers, spacing=[3.0, 3.0, 3.0], orientation="LPS")
    written = write_bundle(plan, tmp_path / "out", trained=True)
    for name in ("train", "evaluate", "inference"):
        config = yaml.safe_load((written / "configs" / f"{name}.yaml").read_text())
        assert config["spacing"] == [3.0, 3.0, 3.0] and config["orientation"] == "LPS"
    assert bundle_plan(written)["title"] == settings["title"]
    assert "gridgate infer BUNDLE CTS M" in (written / "docs" / "README.md").read_text()


def test_weights_meet_no_other_plan(plan: Plan, tmp_path: Path) -> None:
    import torch

    network = build_network(plan.network, in_channels=1, out_channels=2)
    (tmp_path / "models").mkdir()
    torch.save(carry_plan(network.state_dict(), plan), tmp_path / "models" / "model.pt")
    load_weights(network, tmp_path, plan)
    load_weights(network, tmp_path, plan.replace(overlap=0.75))
    other = plan.replace(spacing=[3.0, 3.0, 3.0])
    with pytest.raises(CheckpointError, match=r"spacing \[1.5, 1.5, 2\] \(now \[3, 3, 3\]\)"):
        load_weights(network, tmp_path, other)
    # without a plan inside, as another tool's: nothing to compare
    torch.save(dict(network.state_dict()), tmp_path / "plain.pt")
    load_weights(network, tmp_path / "plain.pt", other)


def test_text_and_numbers_are_written_as_they_are(plan: Plan) -> None:
    """A name such as 1e5 is no number, and a number such as 1e-05 no text."""
    labels = ["background", "1e5", "12e3 x", "yes", "café: [a]"]
    network = {**plan.network, "sha256": "99563253e7ee1861", "rate": 1e-05, "sizes": [2.0, 1e16]}
    written = plan.replace(labels=labels, network=network, imported="another tool")
    found = yaml.safe_load(bundle_files(written)["configs/inference.yaml"])
    assert found["labels"] == labels and found["architecture"] == network
    twin = json.loads(bundle_files(written)["configs/inference.json"])
    assert twin["labels"] == labels and twin["architecture"] == network


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["background", "$print('x')"]},
        {"labels": ["background", "@labels"]},
        {"labels": ["background", "%a.json"]},
        {"labels": ["background", "tumour #1"]},
        {"intensity": {"mode": "window", "low": {"_target_": "os.abort"}, "high": 1}},
        {"modality": "$print('x')"},
        {"merge_labels": {"$print('x')": "liver"}},
    ],
)
def test_what_a_config_would_run_is_refused(plan: Plan, change: dict[str, Any]) -> None:
    """Labels come from files of others."""
    with pytest.raises(ConfigError, match=r"would be taken for code|would make an object"):
        plan.replace(**change)


def test_what_others_wrote_is_not_run_by_a_parser_of_the_metadata(
    plan: Plan, tmp_path: Path
) -> None:
    """A tool may ask MONAI's parser for all of it."""
    code = f"$open({str(tmp_path / 'ran')!r}, 'w')"
    words = {"title": code, "description": code, "data_source": "@nowhere", "references": [code]}
    write_bundle(plan.replace(imported="another tool", **words), tmp_path / "bundle")
    parser = ConfigParser()
    parser.read_meta(str(tmp_path / "bundle" / "configs" / "metadata.json"))
    found = parser.get_parsed_content("_meta_")
    assert found["name"].strip() == code and found["data_source"].strip() == "@nowhere"
    assert "imported model" in found["copyright"] and not (tmp_path / "ran").exists()


def test_the_largest_piece_is_of_labels_by_name(tmp_path: Path) -> None:
    labels = ["background", "liver", "spleen", "aorta"]
    settings = {**bundle_plan(bundle_path("phantom_attention_unet")), "expected": None}
    told = Plan.from_dict({**settings, "labels": labels, "keep_largest": [1, 3]})
    write_bundle(told, tmp_path)

    def kept(names: list[str]) -> bool | list[int]:
        return resolved_plan(bundle_root=tmp_path, labels=names).keep_largest

    assert kept(labels) == [1, 3]
    assert kept(["background", "aorta", "spleen"]) == [1]
    assert kept(["background", "spleen"]) is False
    given = resolved_plan(bundle_root=tmp_path, labels=["background", "spleen"], keep_largest=[1])
    assert given.keep_largest == [1]
    write_bundle(told.replace(keep_largest=True), tmp_path / "all")
    every = resolved_plan(bundle_root=tmp_path / "all", labels=["background", "spleen"])
    assert every.keep_largest is True


def test_a_run_is_mirrored_along_axes_of_the_training_alone(tmp_path: Path) -> None:
    settings = bundle_plan(bundle_path("phantom_attention_unet"))
    told = Plan.from_dict({**settings, "mirror_axes": [1, 2], "test_mirror_axes": [1, 2]})
    write_bundle(told, tmp_path)
    assert resolved_plan(bundle_root=tmp_path, mirror_axes=[1, 2]).test_mirror_axes == [1, 2]
    assert resolved_plan(bundle_root=tmp_path).test_mirror_axes == [1, 2]
    assert resolved_plan(bundle_root=tmp_path, mirror_axes=[2]).test_mirror_axes == [2]
    assert resolved_plan(bundle_root=tmp_path, mirror_axes=[]).test_mirror_axes == []


def test_what_a_bundles_inference_says_otherwise_than_its_plan(tmp_path: Path) -> None:
    for name in ("phantom_attention_unet", "head_neck_attention_unet"):
        assert edited_settings(bundle_path(name)) == {}
    plan = Plan.from_dict(bundle_plan(bundle_path("phantom_attention_unet")))
    file = write_bundle(plan, tmp_path) / "configs" / "inference.yaml"
    text = file.read_text(encoding="utf-8")
    assert f"\noverlap: {plan.overlap}" in text
    edited = text.replace(f"\noverlap: {plan.overlap}", "\noverlap: 0.25")
    file.write_text(edited, encoding="utf-8")
    assert edited_settings(tmp_path) == {"overlap": (0.25, plan.overlap)}
    file.write_text("[", encoding="utf-8")
    assert edited_settings(tmp_path) == {}
