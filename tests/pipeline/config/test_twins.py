"""JSON twins of the YAML configs: they agree, and a run with two that do not ends at once."""

import json
import shutil
from pathlib import Path

import monai.bundle
import pytest
import torch
import yaml
from monai.bundle import ConfigParser

from gridgate.data.errors import ConfigError
from gridgate.pipeline.config.twins import check_twins, write_twins
from gridgate.pipeline.models.build import build_network
from gridgate.pipeline.plans.bundle_folders import shipped_bundles
from gridgate.pipeline.plans.planning import PLANS, read_plan
from gridgate.pipeline.plans.writing import write_bundle
from gridgate.pipeline.workflow import run_settings


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    plan = read_plan(PLANS / "msd_hippocampus_attention_unet.yaml")
    return write_bundle(plan, tmp_path / "hippocampus")


def change(bundle: Path, name: str, old: str, new: str) -> None:
    path = bundle / "configs" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("bundle", shipped_bundles(), ids=lambda path: path.name)
def test_each_yaml_has_a_twin_that_monai_reads_alike(bundle: Path) -> None:
    configs = sorted((bundle / "configs").glob("*.yaml"))
    assert len(configs) == 4
    for path in configs:
        twin = ConfigParser.load_config_file(str(path.with_suffix(".json")))
        if path.stem != "multi_gpu_train":
            assert twin["network_def"].pop("bundle_root") == "@bundle_root"
        assert twin == json.loads(json.dumps(yaml.safe_load(path.read_text())))
    check_twins(bundle)


def test_monais_load_gives_the_network_with_its_weights(bundle: Path) -> None:
    plan = read_plan(PLANS / "msd_hippocampus_attention_unet.yaml")
    network = build_network(plan.network, in_channels=1, out_channels=3)
    (bundle / "models").mkdir()
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    loaded = monai.bundle.load(bundle.name, bundle_dir=str(bundle.parent), device="cpu")
    assert isinstance(loaded, torch.nn.Module)
    image = torch.rand(1, 1, *plan.roi_size)
    with torch.no_grad():
        assert torch.equal(loaded.eval()(image), network.eval()(image))


def test_a_changed_yaml_is_an_error_that_names_file_id_and_values(bundle: Path) -> None:
    change(bundle, "inference.yaml", "overlap: 0.5", "overlap: 0.75")
    text = r"inference\.json: overlap is 0\.5 here and 0\.75 in inference\.yaml"
    with pytest.raises(ConfigError, match=text):
        check_twins(bundle)
    # and so it is for tools that read the JSON and make the network
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    with pytest.raises(RuntimeError) as raised:
        parser.get_parsed_content("network_def")
    assert isinstance(raised.value.__cause__, ConfigError)
    write_twins(bundle)
    check_twins(bundle)


def test_a_run_of_the_yaml_goes_on_with_a_warning_and_one_of_the_json_does_not(
    bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change(bundle, "inference.yaml", "overlap: 0.5", "overlap: 0.75")
    files = {end: str(bundle / "configs" / f"inference.{end}") for end in ("yaml", "json")}
    monai.bundle.ConfigWorkflow(
        config_file=files["yaml"], workflow_type="infer", logging_file=False
    ).initialize()
    assert "overlap is 0.5 here and 0.75 in inference.yaml" in caplog.text
    with pytest.raises(RuntimeError) as raised:
        monai.bundle.ConfigWorkflow(
            config_file=files["json"], workflow_type="infer", logging_file=False
        ).initialize()
    assert isinstance(raised.value.__cause__, ConfigError)
    write_twins(bundle)
    seen = []
    for file in files.values():
        workflow = monai.bundle.ConfigWorkflow(
            config_file=file, workflow_type="infer", logging_file=False
        )
        workflow.initialize()
        seen.append(run_settings())
    assert seen[0] == seen[1]


def test_a_tool_that_does_not_say_where_the_bundle_is_finds_it_on_the_path(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(bundle, "train.json", '"fold": 0', '"fold": 1')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(bundle))
    with pytest.raises(ConfigError, match=r"train\.json: fold is 1 here and 0"):
        check_twins(".")


def test_without_twins_nothing_is_wrong(bundle: Path, tmp_path: Path) -> None:
    for path in (bundle / "configs").glob("*.json"):
        if path.stem != "metadata":
            path.unlink()
    check_twins(bundle)
    shutil.rmtree(bundle / "configs")
    check_twins(bundle)
    with pytest.raises(ConfigError, match="no bundle"):
        write_twins(tmp_path / "nowhere")
