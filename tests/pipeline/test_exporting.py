"""A trained network as one file, read by what would read it, gives the network's output."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gridgate.data.errors import CheckpointError
from gridgate.networks import build
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.models.build import build_network
from gridgate.pipeline.models.checkpoints import carried_plan, carry_plan, load_weights
from gridgate.pipeline.models.writing_weights import half_precision
from gridgate.pipeline.plans.new_bundle import new_bundle
from gridgate.pipeline.plans.plan import Plan, example_plan
from gridgate.pipeline.plans.planning import new_plan_settings
from gridgate.pipeline.plans.resolved import bundle_plan
from gridgate.pipeline.plans.writing import write_bundle

OPTIONS = {"form": "later", "filters": [4, 6, 8], "deep_supervision": True}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A small UNet++ with random weights: bundle/ and model.pt."""
    settings = {
        "roi_size": [16, 16, 24],
        **{f"network::{key}": value for key, value in OPTIONS.items()},
    }
    new_bundle("unet_plus_plus", "msd_hippocampus", tmp_path / "bundle", settings=settings)
    torch.manual_seed(0)
    torch.save(
        build("unet_plus_plus", out_channels=3, **OPTIONS).state_dict(), tmp_path / "model.pt"
    )
    return tmp_path


def wanted(folder: Path, depth: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A window, and the logits of the network or of one head of the whole network for it."""
    network = build(
        "unet_plus_plus", out_channels=3, **OPTIONS, inference=depth or "ensemble"
    ).eval()
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    window = torch.rand(1, 1, 16, 16, 24)
    with torch.no_grad():
        return window, network(window)


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("suffix", [".ts", ".pt2", ".onnx"])
def test_the_file_gives_the_networks_output(suffix: str, depth: int | None, bundle: Path) -> None:
    window, expected = wanted(bundle, depth)
    output = bundle / f"model{suffix}"
    words = ["export", str(bundle / "bundle"), str(bundle / "model.pt"), str(output)]
    if suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
    assert main([*words, *([] if depth is None else ["--depth", str(depth)])]) == 0
    if suffix == ".ts":
        found = torch.jit.load(output)(window)
    elif suffix == ".pt2":
        program = torch.export.load(output)
        found = program.module()(window)
        whole = sum(
            p.numel() for p in build("unet_plus_plus", out_channels=3, **OPTIONS).parameters()
        )
        count = sum(p.numel() for p in program.state_dict.values())
        assert (
            count == whole if depth is None else count < whole / 2
        )  # nodes beyond are not in the file
    else:
        session = onnxruntime.InferenceSession(output)
        found = torch.from_numpy(session.run(["pred"], {"image": window.numpy()})[0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in bundle.iterdir()) == sorted(
        ["bundle", "model.pt", output.name]
    )


@pytest.mark.parametrize(
    ("output", "more", "told"),
    [
        ("model.pth", [], ".onnx"),
        ("model.ts", ["--depth", "7"], "--depth 7"),
        ("bundle/model.ts", ["--depth", "0"], "0"),
    ],
)
def test_what_cannot_be_written_is_told(
    output: str, more: list[str], told: str, bundle: Path, capsys: pytest.CaptureFixture
) -> None:
    words = [
        "export",
        str(bundle / "bundle"),
        str(bundle / "model.pt"),
        str(bundle / output),
        *more,
    ]
    assert main(words) == 1
    assert told in capsys.readouterr().err and not (bundle / output).exists()


def test_networks_without_pruning_or_torchscript_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = {"network::init_filters": 8, "roi_size": [16, 16, 16]}
    new_bundle("MedNeXt", "msd_hippocampus", tmp_path / "bundle", settings=settings)
    torch.save(build("MedNeXt", out_channels=3, init_filters=8).state_dict(), tmp_path / "model.pt")
    words = [
        "export",
        str(tmp_path / "bundle"),
        str(tmp_path / "model.pt"),
        str(tmp_path / "model.ts"),
    ]
    assert main([*words, "--depth", "2"]) == 1
    assert "only networks of the UNet++ family" in capsys.readouterr().err
    assert main(words) == 1
    assert "write a .pt2 or .onnx" in capsys.readouterr().err
    assert not (tmp_path / "model.ts").exists()


def test_settings_of_the_training_are_taken_and_carried(
    bundle: Path, capsys: pytest.CaptureFixture
) -> None:
    other = {**OPTIONS, "filters": [4, 6, 10]}
    network = build("unet_plus_plus", out_channels=3, **other).eval()
    torch.save(network.state_dict(), bundle / "other.pt")
    words = ["export", str(bundle / "bundle"), str(bundle / "other.pt"), str(bundle / "m.ts")]
    assert main(words) == 1
    assert "other.pt: made for another network" in capsys.readouterr().err
    settings = ["--architecture::filters", "[4, 6, 10]", "--spacing", "[2, 2, 3]"]
    assert main([*words, *settings]) == 0
    files = {"inference.json": "", "metadata.json": ""}
    found = torch.jit.load(bundle / "m.ts", _extra_files=files)
    window = torch.rand(1, 1, 16, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(found(window), network(window), rtol=1e-4, atol=1e-5)
    config, facts = (json.loads(files[name]) for name in files)
    assert config["architecture"]["filters"] == [4, 6, 10] and config["spacing"] == [2, 2, 3]
    assert facts["plan"]["spacing"] == [2, 2, 3]
    assert facts["plan"]["network"]["filters"] == [4, 6, 10]
    assert main([*words[:-1], str(bundle / "n.ts"), "--epochs", "3"]) == 1
    assert "--epochs is no setting of this workflow" in capsys.readouterr().err


def test_weights_of_other_settings_are_refused_and_a_bundle_brings_its_own(
    bundle: Path, capsys: pytest.CaptureFixture
) -> None:
    network = build("unet_plus_plus", out_channels=3, **OPTIONS)
    plan = Plan.from_dict(bundle_plan(bundle / "bundle"))
    (bundle / "bundle" / "models").mkdir()
    torch.save(carry_plan(network.state_dict(), plan), bundle / "bundle" / "models" / "model.pt")
    words = ["export", str(bundle / "bundle"), str(bundle / "m.pt2")]
    assert main([*words, "--spacing", "[2, 2, 3]"]) == 1
    assert "trained with another plan: spacing" in capsys.readouterr().err
    assert not (bundle / "m.pt2").exists()
    assert main(words) == 0
    assert (bundle / "m.pt2").is_file()


@pytest.mark.parametrize("suffix", [".ts", ".pt2", ".onnx"])
def test_a_file_that_is_there_is_replaced_only_when_asked_for(
    suffix: str, bundle: Path, capsys: pytest.CaptureFixture
) -> None:
    output = bundle / f"network{suffix}"
    output.write_bytes(b"somebody else's")
    words = ["export", str(bundle / "bundle"), str(bundle / "model.pt"), str(output)]
    for more in ([], ["--overwrite", "False"]):
        assert main([*words, *more]) == 1
        assert f"{output} is there already; --overwrite True" in capsys.readouterr().err
        assert output.read_bytes() == b"somebody else's"
    if suffix == ".ts":
        assert main([*words, "--overwrite", "True"]) == 0
        assert torch.jit.load(output)(torch.zeros(1, 1, 16, 16, 24)).shape[1] == 3
    weights = (bundle / "model.pt").read_bytes()
    assert main([*words[:-1], str(bundle / "model.pt"), "--overwrite", "True"]) == 1
    assert "weights are not replaced" in capsys.readouterr().err
    assert (bundle / "model.pt").read_bytes() == weights


# weights in half precision


def test_half_the_size_and_nearly_the_same_predictions(bundle: Path) -> None:
    plan = Plan.from_dict(bundle_plan(bundle / "bundle"))
    full = torch.load(bundle / "model.pt", weights_only=True)
    full = {name: tensor + 0.001 * torch.rand_like(tensor) for name, tensor in full.items()}
    torch.save(carry_plan(full, plan), bundle / "model.pt")
    words = ["export", str(bundle / "bundle"), str(bundle / "model.pt")]
    assert main([*words, str(bundle / "half.pt")]) == 0
    half = torch.load(bundle / "half.pt", weights_only=True)
    assert half.keys() == full.keys()
    for name, tensor in half.items():
        assert tensor.dtype == torch.float16, name
        np.testing.assert_array_equal(tensor.numpy(), full[name].numpy().astype(np.float16))
    held = carried_plan(half)
    assert held is not None and held["fingerprint"] == plan.fingerprint
    sizes = [sum(one.nbytes for one in state.values()) for state in (half, full)]
    assert 2 * sizes[0] == sizes[1]
    networks = []
    for name in ("model.pt", "half.pt"):
        network = build("unet_plus_plus", out_channels=3, **OPTIONS).eval()
        networks.append(load_weights(network, bundle / name, plan))
    assert {tensor.dtype for tensor in networks[1].parameters()} == {torch.float32}
    window = torch.rand(1, 1, 16, 16, 24)
    with torch.no_grad():
        first, second = (network(window).softmax(1) for network in networks)
    assert 0 < float((first - second).abs().max()) < 0.005  # of a probability
    with pytest.raises(CheckpointError, match="spacing"):
        load_weights(networks[0], bundle / "half.pt", plan.replace(spacing=[9.0, 9.0, 9.0]))


def test_an_ensembles_weights_and_counts_of_batch_norm(tmp_path: Path) -> None:
    member = {"name": "unet", "filters": [2, 4, 4, 4, 4], "norm": "batch"}
    network = {"name": "ensemble", "members": [member, member]}
    settings = {**example_plan(), "network": network, "roi_size": [16, 16, 16]}
    settings |= {"training": new_plan_settings("unet", "phantom")["training"]}
    plan = Plan.from_dict(settings)
    folder = write_bundle(plan, tmp_path / "both", trained=True)
    whole = build_network(plan.network, in_channels=1, out_channels=2)
    for count in (one for name, one in whole.named_buffers() if "num_batches" in name):
        count.fill_(70_001)  # more than float16 holds
    (folder / "models").mkdir()
    torch.save(carry_plan(whole.state_dict(), plan), folder / "models" / "model.pt")
    assert main(["export", str(folder), str(tmp_path / "half.pt")]) == 0
    half = torch.load(tmp_path / "half.pt", weights_only=True)
    counts = [one for name, one in half.items() if "num_batches" in name]
    assert counts and all(one.dtype == torch.int64 and int(one) == 70_001 for one in counts)
    again = load_weights(
        build_network(plan.network, in_channels=1, out_channels=2), tmp_path / "half.pt", plan
    )
    wanted, found = whole.state_dict(), again.state_dict()
    assert all(
        torch.equal(found[name], wanted[name].half().float()) or "num_b" in name for name in wanted
    )


def test_what_float16_cannot_hold_is_refused_and_nothing_is_replaced(
    bundle: Path, capsys: pytest.CaptureFixture
) -> None:
    state = torch.load(bundle / "model.pt", weights_only=True)
    name = next(iter(state))
    state[name].view(-1)[1] = -70_000.0
    torch.save(state, bundle / "large.pt")
    words = ["export", str(bundle / "bundle")]
    assert main([*words, str(bundle / "large.pt"), str(bundle / "half.pt")]) == 1
    told = capsys.readouterr().err
    assert f"{name} holds -70000, which is beyond float16's 65,504" in told
    state[name].view(-1)[1] = float("inf")  # it was so before
    assert half_precision(state, of="x")[name].view(-1)[1] == float("inf")
    before = (bundle / "model.pt").read_bytes()
    assert main([*words, str(bundle / "model.pt"), str(bundle / "model.pt")]) == 1
    assert "weights are not replaced" in capsys.readouterr().err
    assert main([*words, str(bundle / "model.pt"), str(bundle / "half.pt"), "--depth", "1"]) == 1
    assert "--depth leaves nodes out" in capsys.readouterr().err
    assert (bundle / "model.pt").read_bytes() == before
    assert sorted(path.name for path in bundle.iterdir()) == ["bundle", "large.pt", "model.pt"]
