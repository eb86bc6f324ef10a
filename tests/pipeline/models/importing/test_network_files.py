"""TorchScript and ONNX files as a bundle's network, against the network that they are of."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.data import save_net_with_metadata

from gridgate.data.errors import CheckpointError, ConfigError
from gridgate.data.phantom.phantom import make_phantom
from gridgate.networks.network_file import FileNetwork, digest
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.models.importing.file_model import import_network_file
from gridgate.pipeline.models.importing.network_file import read_network_file
from gridgate.pipeline.models.importing.zoo.model import import_zoo

sys.path.insert(0, str(Path(__file__).parent))
from zoo_folders import UNET, made_network, write_zoo_bundle

BUNDLE = "phantom_attention_unet"  # it comes with weights
WORDS = ["--device", "cpu", "--amp", "False"]
SETTINGS = {
    "labels": ["background", "spleen", "liver"],
    "spacing": [2.5, 2.5, 3.0],
    "roi_size": [16, 16, 16],
    "intensity": {"mode": "window", "low": -57, "high": 164},
    "overlap": 0.25,
}


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    phantom = make_phantom(3, shape=(56, 48, 40), spacing=(6.0, 6.0, 7.0))
    path = tmp_path_factory.mktemp("scan") / "ct.nii.gz"
    nib.save(nib.Nifti1Image(np.rint(phantom.image).astype(np.int16), phantom.grid.affine), path)
    return path


def mask_of(bundle: str | Path, scan: Path, to: Path, *more: str) -> np.ndarray:
    assert main(["infer", str(bundle), str(scan), str(to), *WORDS, *more]) == 0
    return np.asarray(nib.load(to).dataobj)


def script(path: Path) -> Path:
    torch.jit.script(made_network(UNET)).save(str(path))
    return path


@pytest.mark.parametrize("suffix", [".ts", ".onnx"])
def test_an_exported_bundle_gives_the_bundles_masks(
    suffix: str, scan: Path, tmp_path: Path
) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    file, bundle = tmp_path / f"network{suffix}", tmp_path / "ours"
    assert main(["export", BUNDLE, str(file)]) == 0
    how = [] if suffix == ".ts" else ["--plan", BUNDLE]  # ours is in the TorchScript
    assert main(["import-model", str(file), str(bundle), *how]) == 0
    wanted = mask_of(BUNDLE, scan, tmp_path / "wanted.nii.gz", "--engine", "torch")
    found = mask_of(bundle, scan, tmp_path / "found.nii.gz")
    assert len(np.unique(wanted)) > 3 and (found != wanted).mean() < 1e-4
    facts = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert f"network{suffix}" in facts["plan"]["imported"]


def test_settings_from_a_file(scan: Path, tmp_path: Path) -> None:
    zoo = import_zoo(
        write_zoo_bundle(tmp_path / "zoo", inferer={"mode": "gaussian", "overlap": 0.25}),
        tmp_path / "named",
    )
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(SETTINGS | {"padding": 0, "interpolate_probabilities": True}))
    bundle = import_network_file(script(tmp_path / "net.ts"), tmp_path / "ours", settings=plan)
    found = mask_of(bundle, scan, tmp_path / "a.nii.gz")
    wanted = mask_of(zoo, scan, tmp_path / "b.nii.gz", "--engine", "torch")
    assert len(np.unique(wanted)) == 3 and (found != wanted).mean() < 1e-4


def test_settings_that_monai_wrote_into_the_file(scan: Path, tmp_path: Path) -> None:
    zoo = write_zoo_bundle(tmp_path / "zoo")
    inside = (zoo / "configs" / "inference.json").read_bytes()
    save_net_with_metadata(
        torch.jit.script(made_network(UNET)),
        str(tmp_path / "model.ts"),
        meta_values=json.loads((zoo / "configs" / "metadata.json").read_text()),
        more_extra_files={"inference.json": inside},
    )
    bundle = import_network_file(tmp_path / "model.ts", tmp_path / "ours")
    wanted = mask_of(import_zoo(zoo, tmp_path / "named"), scan, tmp_path / "b.nii.gz")
    assert (mask_of(bundle, scan, tmp_path / "a.nii.gz") != wanted).mean() < 1e-4


def test_what_cannot_be_a_network_is_refused(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(SETTINGS))
    file = script(tmp_path / "net.ts")

    def refused(error: type[Exception], said: str, path: Path, settings: Path | None) -> None:
        with pytest.raises(error, match=said):
            import_network_file(path, tmp_path / "ours", settings=settings)
        assert not (tmp_path / "ours").exists()

    refused(ConfigError, "says nothing of how scans are prepared.*--plan", file, None)
    for name, content in (("state.pt", None), ("text.ts", b"no zip"), ("empty.onnx", b"")):
        path = tmp_path / name
        if content is None:
            torch.save(made_network(UNET).state_dict(), path)
        else:
            path.write_bytes(content)
        refused(CheckpointError, "weights without|no TorchScript|is empty", path, plan)
    (tmp_path / "bad.onnx").write_bytes(b"nothing of the kind")
    refused(CheckpointError, r"bad\.onnx", tmp_path / "bad.onnx", plan)
    for change, said in (
        ({"labels": ["background", "a"]}, "3 output channels, and the settings' labels"),
        ({"roi_size": [15, 16, 16]}, "does not run|for a window of"),
        ({"channels": 2}, "a window of 2 x 16"),
    ):
        other = tmp_path / "other.yaml"
        other.write_text(yaml.safe_dump(SETTINGS | change))
        refused(CheckpointError, said, file, other)
    for text, said in (
        ("[1, 2]", "is a mapping"),
        ("labels: [a]", "lacks spacing"),
        ("{", "cannot be read"),
    ):
        other.write_text(text)
        refused(ConfigError, said, file, other)


def test_the_module_is_its_file(tmp_path: Path) -> None:
    file = read_network_file(script(tmp_path / "net.ts"))
    options = {key: value for key, value in file.architecture.items() if key != "name"}
    network = FileNetwork(**options)
    x = torch.randn(3, 1, 16, 16, 16)
    with pytest.raises(CheckpointError, match="do not hold the network's file"):
        network(x)
    network.load_state_dict(file.state)
    with torch.no_grad():
        wanted = made_network(UNET)(x)
        torch.testing.assert_close(network(x), wanted)
        for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            torch.testing.assert_close(copied(x), wanted)
        with torch.autocast("cpu", torch.bfloat16):
            assert network(x).dtype == torch.float32
    assert digest(network.content.numpy().tobytes()) == options["sha256"]
    for wrong in ({"format": "pickle"}, {"size": 0}):
        with pytest.raises(ValueError, match="one of torchscript, onnx"):
            FileNetwork(**(options | wrong))


def test_onnx_of_a_fixed_batch_takes_any(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    torch.onnx.export(
        network, (torch.zeros(2, 1, 8, 8, 8),), str(tmp_path / "net.onnx"), dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip
    made = opened(tmp_path / "net.onnx")
    for count in (1, 2, 3, 5):
        x = torch.randn(count, 1, 8, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(made(x), network(x), rtol=1e-5, atol=1e-5)


def opened(path: Path) -> FileNetwork:
    file = read_network_file(path)
    tried = file.tried(1, [8, 8, 8]).architecture
    made = FileNetwork(**{key: value for key, value in tried.items() if key != "name"})
    made.load_state_dict(file.state)
    return made


class OfOneWindow(torch.nn.Module):
    """Its trace has the batch of its example in it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).reshape(int(x.shape[0]), 2, -1).reshape(int(x.shape[0]), 2, 8, 8, 8)


def test_a_trace_of_one_window_takes_them_one_by_one(tmp_path: Path) -> None:
    network = OfOneWindow().eval()
    torch.jit.trace(network, torch.zeros(1, 1, 8, 8, 8)).save(str(tmp_path / "net.ts"))
    made = opened(tmp_path / "net.ts")
    assert made.batch == 1
    x = torch.randn(3, 1, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(made(x), network(x))


class OfTwo(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x + 1


def test_several_outputs_are_refused(tmp_path: Path) -> None:
    torch.jit.script(OfTwo()).save(str(tmp_path / "net.ts"))
    with pytest.raises(CheckpointError, match="gives tuple"):
        opened(tmp_path / "net.ts")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    torch.onnx.export(
        OfTwo(), (torch.zeros(1, 1, 8, 8, 8),), str(tmp_path / "net.onnx"), dynamo=True,
        external_data=False, verbose=False,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="several inputs or outputs"):
        opened(tmp_path / "net.onnx")


def test_labels_are_those_that_are_given(tmp_path: Path) -> None:
    plan, names = tmp_path / "plan.yaml", tmp_path / "names.json"
    plan.write_text(yaml.safe_dump(SETTINGS))
    names.write_text(json.dumps({"kidney": 1, "lung": 2}))
    words = ["import-model", str(script(tmp_path / "net.ts")), str(tmp_path / "ours")]
    assert main([*words, "--plan", str(plan), "--labels", str(names)]) == 0
    facts = json.loads((tmp_path / "ours" / "configs" / "metadata.json").read_text())
    assert facts["plan"]["labels"] == ["background", "kidney", "lung"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ["background", "$print(1)", "b"]}, "labels: .* would be taken for code"),
        ({"labels": ["background", "a#1", "b"]}, "labels: 'a#1'"),
        ({"intensity": {"mode": "monai", "transforms": [{"name": "Resize"}]}}, "'Resize' is not"),
        ({"intensity": {"mode": "monai", "transforms": {"_target_": "os.abort"}}}, "_target_"),
        ({"blend": "Gaussian"}, "blend Gaussian"),
        ({"padding": "reflect"}, "padding reflect"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(SETTINGS | change))
    with pytest.raises(ConfigError, match=said):
        import_network_file(script(tmp_path / "net.ts"), tmp_path / "ours", settings=plan)
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("outputs", [{"output_channels": 1, "labels": ["background", "a"]}, {}])
def test_a_sigmoid_that_is_in_the_file_is_refused_where_it_decides(
    tmp_path: Path, outputs: dict[str, Any]
) -> None:
    """Each voxel's probability is above 0, which is the threshold of logits."""
    count = 1 if outputs else 3
    net = torch.nn.Sequential(torch.nn.Conv3d(1, count, 3, padding=1), torch.nn.Sigmoid())
    torch.jit.script(net).save(str(tmp_path / "net.ts"))
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(SETTINGS | outputs))
    if outputs:
        with pytest.raises(CheckpointError, match=r"net\.ts: gives 0\.\d+ to 0\.\d+ for noise"):
            import_network_file(tmp_path / "net.ts", tmp_path / "ours", settings=plan)
        assert not (tmp_path / "ours").exists()
    else:  # the highest of several is the same one
        import_network_file(tmp_path / "net.ts", tmp_path / "ours", settings=plan)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".ts"])
def test_a_file_is_not_exported_again(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(SETTINGS))
    bundle = import_network_file(script(tmp_path / "net.ts"), tmp_path / "ours", settings=plan)
    words = [str(bundle), str(bundle / "models" / "model.pt"), str(tmp_path / f"made{suffix}")]
    assert main(["export", *words]) == 1
    assert "is a file of TorchScript or ONNX already" in capsys.readouterr().err


def test_a_file_of_another_kind_is_not_called_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.pt2").write_bytes(b"PK")
    assert main(["import-model", str(tmp_path / "net.pt2"), str(tmp_path / "ours")]) == 1
    assert "net.pt2: is no network's file that is known" in capsys.readouterr().err
