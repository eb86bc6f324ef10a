"""The committed bundles: what MONAI's tools and its zoo's checker accept, and a copy that runs."""

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import (
    ConfigParser,
    ConfigWorkflow,
    ckpt_export,
    run,
    verify_metadata,
    verify_net_in_out,
)

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.networks import build
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.plans.planning import FOLDER, PLANS, read_plan

BUNDLES = sorted(path.stem for path in PLANS.glob("*.yaml"))
WORKFLOWS = {"train.yaml": "train", "evaluate.yaml": "infer", "inference.yaml": "infer"}
SCHEMA = Path(__file__).with_name("metadata_schema.json")
NETWORK = "architecture::"
SHAPE = "_meta_::network_data_format::inputs::image::spatial_shape"

each_bundle = pytest.mark.parametrize("name", BUNDLES)


@pytest.fixture(autouse=True)
def left_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Another working directory, and what a run of MONAI's changes in the process put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def metadata(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name / "configs" / "metadata.json").read_text())


def small_network(name: str, size: int = 32) -> dict[str, Any]:
    """Overrides that keep a bundle's network, with few channels and for a small window."""
    window = [size] * 3
    sizes: dict[str, dict[str, Any]] = {
        "unetr": {
            "img_size": window,
            "feature_size": 4,
            "hidden_size": 24,
            "mlp_dim": 48,
            "num_heads": 2,
        },
        "uctransnet": {"img_size": window, "width": 4, "layers": 1},
        "transfuse": {
            "img_size": window,
            "widths": [8, 8, 8],
            "embed_dim": 12,
            "depth": 1,
            "heads": 2,
        },
        "transunet": {
            "img_size": window,
            "stem_width": 8,
            "units": [1, 1, 1],
            "groups": 4,
            "num_layers": 1,
        }
        | {"hidden_size": 12, "num_heads": 2, "mlp_dim": 12, "decoder_widths": [8, 8, 8, 8, 4]},
        "wide_unet": {},
    }
    small = sizes.get(metadata(name)["plan"]["network"]["name"], {"filters": [4, 4, 8, 8, 8]})
    return {SHAPE: window, "roi_size": window} | {
        NETWORK + key: value for key, value in small.items()
    }


# what MONAI's tools accept


@each_bundle
def test_verify_metadata(name: str, tmp_path: Path) -> None:
    # a schema that is there is not downloaded
    schema = Path(shutil.copy(SCHEMA, tmp_path))
    verify_metadata(meta_file=str(FOLDER / name / "configs" / "metadata.json"), filepath=schema)


@pytest.mark.parametrize("missing", ["version", "network_data_format", "channel_def"])
def test_the_schema_refuses_metadata_without(missing: str, tmp_path: Path) -> None:
    content = metadata(BUNDLES[0])
    holder = (
        content["network_data_format"]["outputs"]["pred"] if missing == "channel_def" else content
    )
    del holder[missing]
    (tmp_path / "metadata.json").write_text(json.dumps(content))
    schema = Path(shutil.copy(SCHEMA, tmp_path))
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=schema)


@each_bundle
@pytest.mark.parametrize("config", WORKFLOWS)
def test_verify_net_in_out(name: str, config: str) -> None:
    # the window is made small for speed; UNETR's network depends on it, so one of the two keeps its
    # own
    if name == "msd_spleen_unetr" and config == "inference.yaml":
        overrides: dict[str, Any] = {}
    else:
        overrides = small_network(name)
    configs = FOLDER / name / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / config),
        device="cpu",
        **overrides,
    )


def test_the_network_is_the_plans_own() -> None:
    # what the small ones above do not show: names and options of each plan make a network of that
    # size
    sizes = {}
    for name in BUNDLES:
        parser = ConfigParser()
        parser.read_config(str(FOLDER / name / "configs" / "inference.yaml"))
        parser.read_meta(str(FOLDER / name / "configs" / "metadata.json"))
        with torch.device("meta"):
            network = parser.get_parsed_content("network_def")
        sizes[name] = sum(parameter.numel() for parameter in network.parameters())
    assert sizes["btcv_unetr"] == 92_802_478
    assert all(size > 100_000 for size in sizes.values()), sizes


@pytest.mark.parametrize(
    "name",
    [
        "phantom_attention_unet",
        "head_neck_attention_unet",
        "msd_spleen_unetr",
        "msd_hippocampus_unetpp",
    ],
)
def test_ckpt_export_gives_the_eager_networks_output(name: str, tmp_path: Path) -> None:
    overrides = small_network(name)
    configs = FOLDER / name / "configs"
    labels = len(metadata(name)["network_data_format"]["outputs"]["pred"]["channel_def"])
    options = metadata(name)["plan"]["network"]
    options |= {
        key.removeprefix(NETWORK): value
        for key, value in overrides.items()
        if key.startswith(NETWORK)
    }
    torch.manual_seed(3)
    eager = build(**options, in_channels=1, out_channels=labels).eval()
    torch.save(eager.state_dict(), tmp_path / "model.pt")
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.yaml"),
        **overrides,
    )
    extra = {"metadata.json": ""}
    exported = torch.jit.load(tmp_path / "model.ts", _extra_files=extra).eval()
    image = torch.rand(1, 1, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(exported(image), eager(image), rtol=1e-5, atol=1e-5)
    assert json.loads(extra["metadata.json"])["name"] == metadata(name)["name"]


def listed_dataset(root: Path, labels: list[str], modality: str) -> Path:
    """A dataset of five empty files: enough for whatever reads no image."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
        for number in range(5):
            (root / folder / f"case_{number}.nii.gz").touch()
    write_dataset_json(
        root, "Listed", {name: value for value, name in enumerate(labels)}, (modality,), 5
    )
    return root


@each_bundle
@pytest.mark.parametrize("config", WORKFLOWS)
@pytest.mark.parametrize("data", ["a dataset", "no dataset"])
def test_check_properties(name: str, config: str, data: str, tmp_path: Path) -> None:
    overrides = small_network(name)
    if data == "a dataset":
        plan = read_plan(PLANS / f"{name}.yaml")
        dataset = listed_dataset(tmp_path / "data", plan.labels, plan.modality)
        folder = "input_dir" if config == "inference.yaml" else "dataset_dir"
        overrides[folder] = str(dataset / "imagesTr" if config == "inference.yaml" else dataset)
    workflow = ConfigWorkflow(
        config_file=str(FOLDER / name / "configs" / config),
        workflow_type=WORKFLOWS[config],
        **overrides,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    expected = (
        {"train.yaml": 4, "evaluate.yaml": 1, "inference.yaml": 5}[config]
        if data == "a dataset"
        else 0
    )
    items = workflow.train_dataset_data if config == "train.yaml" else workflow.dataset_data
    assert len(items) == expected
    assert not (tmp_path / "output").exists(), "nothing is written before the run"


@pytest.mark.parametrize("config", WORKFLOWS)
def test_properties_of_the_phantom_bundle_work_on_its_dataset(
    config: str, phantom_dataset: Path
) -> None:
    if config == "inference.yaml":
        source = {"input_dir": str(phantom_dataset / "imagesTr")}
    else:
        source = {"dataset_dir": str(phantom_dataset)}
    workflow = ConfigWorkflow(
        config_file=str(FOLDER / "phantom_attention_unet" / "configs" / config),
        workflow_type=WORKFLOWS[config],
        device="cpu",  # as typed: MONAI hands on the text
        spacing=[10, 10, 10],
        **source,
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    # what MONAI Label does: the bundle's own preprocessing on one file
    preprocessing = (
        workflow.train_preprocessing if config == "train.yaml" else workflow.preprocessing
    )
    item = (workflow.train_dataset_data if config == "train.yaml" else workflow.dataset_data)[0]
    image = preprocessing(dict(item))["image"]
    np.testing.assert_allclose(np.linalg.norm(image.affine.numpy()[:3, :3], axis=0), 10, atol=1e-3)
    assert image.min() >= 0 and image.max() <= 1


@each_bundle
def test_what_the_zoos_checker_wants(name: str) -> None:
    bundle, content = FOLDER / name, metadata(name)
    for file in ("LICENSE", "docs/README.md", "configs/metadata.json", "configs/inference.yaml"):
        assert (bundle / file).stat().st_size > 0, file
    assert "Apache License" in (bundle / "LICENSE").read_text()
    assert content["version"] in content["changelog"]
    for tensors in content["network_data_format"].values():
        for tensor in tensors.values():
            assert list(tensor["channel_def"]) == [
                str(number) for number in range(tensor["num_channels"])
            ]
    assert content["network_data_format"]["outputs"]["pred"]["channel_def"]["0"] == "background"
    assert all(path.stat().st_size <= 25e6 for path in bundle.rglob("*") if path.is_file())
    assert name == name.lower() and " " not in name


# copied out


def test_a_copy_renamed_runs_from_another_folder(phantom_dataset: Path, tmp_path: Path) -> None:
    assert (
        main(["bundles", "--copy", "phantom_attention_unet", "--to", str(tmp_path / "mine")]) == 0
    )
    scans = tmp_path / "scans"
    scans.mkdir()
    scan = Path(shutil.copy(phantom_dataset / "imagesTr" / "phantom_000.nii.gz", scans))
    (tmp_path / "elsewhere").mkdir()
    # without a run_id: each bundle's `run` is an alias
    run(
        config_file=str(tmp_path / "mine" / "configs" / "inference.yaml"),
        input_dir=str(scans),
        output_dir=str(tmp_path / "masks"),
        load_pretrain=False,
        spacing=[8, 8, 8],
        roi_size=[32, 32, 32],
        overlap=0,
        device="cpu",
        **{NETWORK + "filters": [4, 4, 8, 8, 8]},
    )
    image, mask = nib.load(scan), nib.load(tmp_path / "masks" / "phantom_000.nii.gz")
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    np.testing.assert_array_equal(mask.get_sform(), image.get_sform())
    np.testing.assert_array_equal(mask.get_qform(), image.get_qform())
    assert mask.get_data_dtype() == np.uint8
    source = FOLDER / "phantom_attention_unet"
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        path.name for path in source.iterdir()
    }
