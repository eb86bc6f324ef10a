"""Engines give PyTorch's scores and masks; what they keep is found again, and only that."""

from __future__ import annotations

import importlib.util
import json
import logging
import pickle
import stat
import subprocess
import sys
from contextlib import nullcontext
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
from gridgate.pipeline.models.engines import by_openvino, choice, converted
from gridgate.pipeline.models.engines.attempt import Standing, attempt
from gridgate.pipeline.models.engines.engine import ENGINES, make_engine
from gridgate.pipeline.models.engines.network_key import network_key
from gridgate.pipeline.models.engines.window_network import WindowKind, refuse_other_scores
from gridgate.pipeline.models.ensemble import EnsembleNetwork

CONVERTING = ["openvino", "onnxruntime"]
OF_THE_SAME_LAYERS = {"unet", "unet_e", "unet_plus", "wide_unet", "UNETR", "VNet", "SegResNet"}
"""As others that are tried; they were tried once, and take time."""
CPU = torch.device("cpu")
FREE = nullcontext(Standing.FREE)
ROI = (16, 16, 16)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRIDGATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture(params=CONVERTING)
def engine(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def kind(
    shape: tuple[int, ...] = (1, *ROI), dtype: torch.dtype | None = None, threads: int = 1
) -> WindowKind:
    return WindowKind(shape, dtype, CPU, threads)


def network(channels: int = 1, classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(channels, 4, 3, padding=1),
        nn.InstanceNorm3d(4),
        nn.LeakyReLU(),
        nn.Conv3d(4, classes, 1),
    ).eval()


def image(channels: int = 1) -> torch.Tensor:
    return torch.randn(1, channels, 24, 20, 18, generator=torch.Generator().manual_seed(1))


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


@pytest.mark.parametrize("where", ["make", "run"])
def test_auto_goes_on_with_pytorch_whatever_a_library_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("could not create a primitive")

    if where == "make":
        monkeypatch.setattr(by_openvino, "core", fails)
        with pytest.raises(ConfigError, match=r"cannot be used here \(could not create.*torch"):
            make_engine("openvino", network(), kind())
    else:
        monkeypatch.setattr(by_openvino.Compiled, "run", fails)
    monkeypatch.setattr(choice, "usable", lambda _: ["openvino"])
    assert auto(network(), kind()) == "torch"
    assert "could not create a primitive" in caplog.text


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


def auto(net: nn.Module, windows: WindowKind, *, seconds: float = 1e9) -> str:
    """The engine of a new process that has spent some seconds in the network."""
    asked = choice.AutoEngine()
    asked.seconds = seconds
    return asked(net, windows).name


def test_auto_takes_what_was_fastest_and_keeps_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    asked: list[str] = []

    def seconds(engine: Any, _: Any) -> float:
        asked.append(engine.name)
        return {"torch": 2.0, "openvino": 1.0, "onnxruntime": 3.0}[engine.name]

    monkeypatch.setattr(choice, "seconds_per_window", seconds)
    assert auto(network(), kind(), seconds=0.0) == "torch", "measured for nothing"
    assert not asked and not cache.exists()
    assert auto(network(), kind()) == "openvino"
    assert set(asked) == {"torch", "openvino", "onnxruntime"}
    asked.clear()
    assert auto(network(), kind(), seconds=0.0) == "openvino"
    assert not asked, "measured again"
    assert list(json.loads((cache / "choices.json").read_text()).values()) == ["openvino"]
    monkeypatch.setattr(choice, "seconds_per_window", lambda engine, _: len(engine.name))
    assert auto(network(), kind(threads=2)) == "torch", "other threads"
    monkeypatch.setattr(choice, "seconds_per_window", lambda *_: 1.0)
    assert auto(network(classes=5), kind()) == "torch", "nothing is gained"
    (cache / "choices.json").write_text("{torn")
    assert auto(network(classes=5), kind()) == "torch"


def test_auto_measures_once_the_network_has_run_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds are those of the volumes before; short volumes are of one engine."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    spent = {"torch": 2.0, "openvino": 1.0, "onnxruntime": 3.0}
    monkeypatch.setattr(choice, "seconds_per_window", lambda engine, _: spent[engine.name])
    monkeypatch.setattr(choice, "_WORTH_MEASURING", 1e-9)
    inferer, net = SlidingWindow(ROI, amp=False, engine="auto"), network()
    used = []
    for _ in range(3):
        slabs = inferer.slabs(image()[0], net)
        assert len(list(slabs)) >= 1
        used.append(slabs.facts.engine)
    assert used == ["torch float32", "openvino float32", "openvino float32"]


def test_auto_measures_within_a_long_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left runs by the fastest, and the scores are those of PyTorch."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    spent = {"torch": 2.0, "openvino": 1.0, "onnxruntime": 3.0}
    monkeypatch.setattr(choice, "seconds_per_window", lambda engine, _: spent[engine.name])
    monkeypatch.setattr(choice, "_WORTH_MEASURING", 1e-9)
    monkeypatch.setattr(choice, "_WORTH_WITHIN", 1e9)
    inferer, net = SlidingWindow(ROI, amp=False, engine="auto"), network()
    volume = torch.randn(1, 24, 24, 40)
    short = inferer.slabs(volume, net)
    wanted = torch.cat([slab.scores for slab in short])
    assert short.facts.engine == "torch float32", "little was left"
    monkeypatch.setattr(choice, "_WORTH_WITHIN", 0.0)
    inferer = SlidingWindow(ROI, amp=False, engine="auto")
    ran: list[int] = []
    slabs = inferer.slabs(volume, net, progress=lambda done, count: ran.append(done))
    got = torch.cat([slab.scores for slab in slabs])
    assert slabs.facts.engine == "torch float32, then openvino float32"
    assert ran == sorted(set(ran)) and ran[-1] == slabs.facts.windows
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    again = inferer.slabs(volume, net)
    list(again)
    assert again.facts.engine == "openvino float32"


def test_volumes_in_progress_stay_with_their_own_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slabs are computed as they are read: another volume may have begun meanwhile."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    monkeypatch.setattr(choice, "seconds_per_window", lambda engine, _: len(engine.name) % 7)
    monkeypatch.setattr(choice, "_WORTH_MEASURING", 1e-9)
    monkeypatch.setattr(choice, "_WORTH_WITHIN", 0.0)
    volume, first, second = torch.randn(1, 24, 24, 40), network(), network()
    nn.init.normal_(next(second.parameters()))
    wanted = torch.cat([slab.scores for slab in SlidingWindow(ROI, amp=False).slabs(volume, first)])
    inferer = SlidingWindow(ROI, amp=False, engine="auto")
    slabs, others = inferer.slabs(volume, first), inferer.slabs(volume, second)
    torch.testing.assert_close(
        torch.cat([slab.scores for slab in slabs]), wanted, rtol=1e-4, atol=1e-4
    )
    assert "openvino" in slabs.facts.engine
    other = torch.cat([slab.scores for slab in others])
    assert float((other - wanted).abs().max()) > 0.1


def test_engines_that_end_processes_are_given_up(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that is stopped meanwhile says nothing; two that ended do, as of no memory."""
    pytest.importorskip("openvino", reason="openvino is not installed")

    def stopped(*_: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(choice, "seconds_per_window", stopped)
    with pytest.raises(KeyboardInterrupt):
        auto(network(), kind())
    spent = {"torch": 2.0, "openvino": 1.0, "onnxruntime": 3.0}
    monkeypatch.setattr(choice, "seconds_per_window", lambda engine, _: spent[engine.name])

    def ended(count: int, classes: int) -> str:
        monkeypatch.setattr(choice, "attempt", lambda folder, key: keys.append(key) or FREE)
        keys: list[str] = []
        auto(network(classes=classes), kind())
        (cache / "tried").mkdir(exist_ok=True)
        (cache / "tried" / keys[0]).write_text(str(count))
        (cache / "choices.json").unlink()
        monkeypatch.setattr(choice, "attempt", attempt)
        return auto(network(classes=classes), kind())

    assert ended(1, 3) == "openvino" and "ended" not in caplog.text
    assert ended(2, 4) == "torch"
    assert "processes that tried others on this network ended" in caplog.text


def test_only_one_process_tries(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others go on with PyTorch, and have what it found with their next volume."""
    pytest.importorskip("openvino", reason="openvino is not installed")
    spent = {"torch": 2.0, "openvino": 1.0, "onnxruntime": 3.0}
    there: list[str] = []

    def seconds(engine: Any, _: Any) -> float:
        if not there:  # while this process measures, another one asks
            there.append("asked")
            there.append(other(net, kind()).name)
        return spent[engine.name]

    monkeypatch.setattr(choice, "seconds_per_window", seconds)
    net, other = network(), choice.AutoEngine()
    other.seconds = 1e9
    assert auto(net, kind()) == "openvino"
    assert there[1] == "torch"
    assert other.within(net, kind(), 0.0, 1e9) is not None, "what was kept meanwhile is taken"
    assert other(net, kind()).name == "openvino"


def test_pytorch_goes_on_where_it_cannot_be_timed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")

    def fails(engine: Any, _: Any) -> float:
        if engine.name == "torch":
            raise RuntimeError("not enough memory: you tried to allocate 9 bytes")
        return 1.0

    monkeypatch.setattr(choice, "seconds_per_window", fails)
    assert auto(network(), kind()) == "torch"
    assert not (cache / "choices.json").exists(), "that says nothing of later"


def test_auto_stays_with_pytorch_where_it_is_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    measured: list[str] = []

    def seconds(engine: Any, _: Any) -> float:
        measured.append(engine.name)
        return 1.0

    monkeypatch.setattr(choice, "seconds_per_window", seconds)
    monkeypatch.setattr(choice, "_WORTH_MEASURING", 1e-9)
    monkeypatch.setattr(choice, "_WORTH_WITHIN", 0.0)
    inferer, net = SlidingWindow(ROI, amp=False, engine="auto"), network()
    for _ in range(2):
        slabs = inferer.slabs(torch.randn(1, 24, 24, 40), net)
        list(slabs)
        assert slabs.facts.engine == "torch float32"
    assert measured.count("torch") == 1, "measured again"


def test_auto_is_pytorch_where_nothing_else_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert auto(network(), kind()) == "torch"
    with pytest.raises(ConfigError, match=r"pip install 'gridgate\[openvino\]'"):
        make_engine("openvino", network(), kind())


def test_auto_goes_on_with_pytorch_where_a_network_cannot_be_converted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Deciding(nn.Module):
        """What cannot be exported: it looks at the values."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x, 2 * x if float(x.max()) > 0 else 3 * x], 1)

    assert auto(Deciding().eval(), kind()) == "torch"
    assert "engine" in caplog.text
    for name in CONVERTING:
        with pytest.raises(ConfigError, match=f"--engine {name}: Deciding"):
            make_engine(name, Deciding().eval(), kind())


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
