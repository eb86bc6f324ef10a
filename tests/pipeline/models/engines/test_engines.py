"""Engines give PyTorch's scores and masks; what they keep is found again, and only that."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gridgate.data.errors import ConfigError
from gridgate.networks import build_for_volumes
from gridgate.networks.registry import NETWORKS, network_facts
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.pipeline.models.devices import cpu_has_bfloat16
from gridgate.pipeline.models.engines import converted
from gridgate.pipeline.models.engines.engine import ENGINES, make_engine
from gridgate.pipeline.models.engines.network_key import network_key
from gridgate.pipeline.models.engines.window_network import refuse_other_scores
from gridgate.pipeline.models.ensemble import EnsembleNetwork

from .conftest import ROI, image, kind, network

CONVERTING = ["openvino", "onnxruntime"]
OF_THE_SAME_LAYERS = {"unet", "unet_e", "unet_plus", "wide_unet", "UNETR", "VNet", "SegResNet"}
"""As others that are tried; they were tried once, and take time."""


@pytest.fixture(params=CONVERTING)
def engine(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.mark.parametrize("channels", [1, 2])
def test_scores_are_those_of_pytorch(engine: str, channels: int) -> None:
    net, scan = network(channels), image(channels)
    wanted = SlidingWindow(ROI, amp=False)(scan, net)
    got = SlidingWindow(ROI, amp=False, engine=engine)(scan, net)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


def test_mirrored_windows_are_not_written_over(engine: str) -> None:
    """A buffer that the engine used again would make all flips the last one's."""
    net, scan = network(), image()
    options: dict[str, Any] = {"amp": False, "mirror_axes": (0, 2)}
    wanted = SlidingWindow(ROI, **options)(scan, net)
    got = SlidingWindow(ROI, engine=engine, **options)(scan, net)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


def test_all_scores_stay_as_they_were_given(engine: str) -> None:
    made = make_engine(engine, network(), kind())
    first = made.forward(image()[:, :, :16, :16, :16])
    kept = first.clone()
    made.forward(torch.zeros(1, 1, *ROI))
    assert torch.equal(first, kept)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - OF_THE_SAME_LAYERS))
def test_openvino_knows_every_network(name: str) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    torch.manual_seed(0)
    tiny = network_facts(name).tiny
    net = build_for_volumes(name, in_channels=1, out_channels=3, **tiny.options).eval()
    roi = tiny.window
    window = torch.randn(1, 1, *roi)
    with torch.no_grad():
        wanted = net(window)
    got = make_engine("openvino", net, kind((1, *roi))).forward(window)
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_an_ensemble_is_one_network(engine: str) -> None:
    """Members' probabilities are averaged inside, and the logits of the mean come out."""
    torch.manual_seed(3)
    members = [network(), network()]
    for parameter in members[1].parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    net, scan = EnsembleNetwork(members).eval(), image()
    wanted = SlidingWindow(ROI, amp=False)(scan, net)
    got = SlidingWindow(ROI, amp=False, engine=engine)(scan, net)
    torch.testing.assert_close(got.softmax(1), wanted.softmax(1), rtol=0, atol=1e-4)


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU has no bfloat16")
def test_openvino_computes_in_bfloat16_when_asked() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    net, window = network(), image()[:, :, :16, :16, :16]
    exact = make_engine("openvino", net, kind()).forward(window)
    half = make_engine("openvino", net, kind(dtype=torch.bfloat16)).forward(window)
    assert not torch.equal(exact, half), "float32, as if nobody had asked"
    assert (exact.argmax(1) == half.argmax(1)).float().mean() > 0.95


def test_what_openvino_warns_of_while_it_reads_does_not_reach_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoders = pytest.importorskip("openvino.frontend.pytorch.fx_decoder")
    monkeypatch.setattr(decoders.TorchFXPythonDecoder, "_decomp_table", None)  # its first network
    make_engine("openvino", network(), kind())
    logging.warning("another")
    warned = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert warned == ["another"]


def test_onnxruntime_says_that_it_has_no_bfloat16() -> None:
    with pytest.raises(ConfigError, match=r"float32 here.*--amp False.*--engine torch"):
        make_engine("onnxruntime", network(), kind(dtype=torch.bfloat16))


def test_what_was_converted_is_read_the_next_time(
    engine: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, window = network(), image()[:, :, :16, :16, :16]
    first = make_engine(engine, net, kind()).forward(window)
    assert len(list((cache / "networks").iterdir())) == 1

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("converted again")

    monkeypatch.setattr(torch.export, "export", refuse)
    monkeypatch.setattr(torch.onnx, "export", refuse)
    torch.testing.assert_close(make_engine(engine, network(), kind()).forward(window), first)
    with pytest.raises((AssertionError, ConfigError), match="converted again"):
        make_engine(engine, network(classes=4), kind())


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda net: net[1].weight.data.view(-1)[0].add_(1e-3), id="a weight"),
        pytest.param(lambda net: setattr(net[1], "stride", (2, 2, 2)), id="a module's setting"),
        pytest.param(lambda net: net.__setitem__(2, nn.Sigmoid()), id="a module of no weights"),
        pytest.param(lambda net: net.append(nn.Identity()), id="one module more"),
    ],
)
def test_another_network_has_another_key(change: Any) -> None:
    def made() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.InstanceNorm3d(1), nn.Conv3d(1, 2, 3, padding=1), nn.ReLU())

    net = made()
    before = network_key(net, (1, *ROI))
    assert before == network_key(made(), (1, *ROI)), "a key that no other process finds"
    change(net)
    assert network_key(net, (1, *ROI)) != before


def test_an_own_class_counts_with_its_source(tmp_path: Path) -> None:
    """The same class, weights and settings; only the code of forward() differs."""
    keys = []
    for index, sign in enumerate("+-"):
        file = tmp_path / str(index) / "own_network.py"
        file.parent.mkdir()
        file.write_text(
            "from torch import nn\nclass Own(nn.Module):\n"
            f"    def forward(self, x):\n        return {sign}x\n"
        )
        spec = importlib.util.spec_from_file_location("own_network", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["own_network"] = module
        keys.append(network_key(module.Own(), (1, *ROI)))
    assert keys[0] != keys[1]


def test_only_the_last_used_networks_are_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(converted, "_MOST", 2)
    for classes in (2, 3, 4):
        make_engine(engine, network(classes=classes), kind())
    assert len(list((cache / "networks").iterdir())) == 2


def test_a_cache_that_cannot_be_written_stops_nothing(
    engine: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GRIDGATE_CACHE", str(tmp_path / "file"))
    make_engine(engine, network(), kind())


def test_a_cache_is_as_open_as_its_folder(engine: str, cache: Path) -> None:
    """What one user keeps others can read, where their group shares a folder."""
    (cache / "networks").mkdir(parents=True)
    (cache / "networks").chmod(0o775)
    make_engine(engine, network(), kind())
    (kept,) = (cache / "networks").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o775


@pytest.mark.parametrize("refused", ["open", "utime"])
def test_a_cache_of_somebody_elses_stops_nothing(
    engine: str, cache: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Kept there, but not to be read; or to be read, and not to be touched."""
    first = make_engine(engine, network(), kind()).forward(image()[:, :, :16, :16, :16])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    if refused == "open":
        monkeypatch.setattr(converted, "open", refuse, raising=False)
    else:
        monkeypatch.setattr("os.utime", refuse)
    made = make_engine(engine, network(), kind())
    torch.testing.assert_close(made.forward(image()[:, :, :16, :16, :16]), first)


def test_other_scores_are_refused() -> None:
    """What a wrong conversion would give: the channels in another order."""
    net = network()
    made = make_engine("openvino", net, kind()).forward
    assert not isinstance(made, nn.Module)
    net.eval()
    refuse_other_scores(net, made, engine="openvino")  # type: ignore[arg-type]

    class Turned(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(net(x)).flip(1)

    with pytest.raises(ConfigError, match="other scores there than in PyTorch"):
        refuse_other_scores(Turned(), made, engine="openvino")  # type: ignore[arg-type]


def test_an_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=f"--engine tensorflow: .*{ENGINES[-1]}"):
        SlidingWindow(ROI, engine="tensorflow")


def test_windows_of_another_size_are_refused(engine: str) -> None:
    made = make_engine(engine, network(), kind())
    with pytest.raises(ConfigError, match="made for windows"):
        made.forward(torch.zeros(1, 1, 16, 16, 8))


def test_an_inferer_with_its_engine_made_can_be_sent_to_a_worker() -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    net, scan = network(), image()
    inferer = SlidingWindow(ROI, amp=False, engine="openvino")
    wanted = inferer(scan, net)
    again = pickle.loads(pickle.dumps(inferer))
    assert torch.equal(again(scan, net), wanted)


@pytest.mark.skipif(sys.platform != "linux", reason="it is about Linux's signals")
def test_signals_are_handled_after_engines_have_gone() -> None:
    """Each core of OpenVINO's has a stack for signals; one that was gone ended the process."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    code = """
import os, signal, torch
from gridgate.pipeline.models.engines.attempt import Standing, attempt
from gridgate.pipeline.models.engines.engine import make_engine
from gridgate.pipeline.models.engines.window_network import WindowKind
kind = WindowKind((1, 8, 8, 8), None, torch.device("cpu"), 1)
first, second = (
    make_engine("openvino", torch.nn.Sequential(torch.nn.Conv3d(1, 2, size)).eval(), kind)
    for size in (1, 3)
)
del first
del second
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
assert seen
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "alive\n" and done.returncode == 0, (done.returncode, done.stderr)
