"""`--engine auto`: what was the fastest goes on, is kept, and is tried by one process at a time."""

from __future__ import annotations

import importlib.util
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gridgate.data.errors import ConfigError
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.pipeline.models.engines import by_openvino, choice
from gridgate.pipeline.models.engines.attempt import Standing, attempt
from gridgate.pipeline.models.engines.engine import make_engine
from gridgate.pipeline.models.engines.window_network import WindowKind

from .conftest import ROI, image, kind, network

FREE = nullcontext(Standing.FREE)


def auto(net: nn.Module, windows: WindowKind, *, seconds: float = 1e9) -> str:
    """The engine of a new process that has spent some seconds in the network."""
    asked = choice.AutoEngine()
    asked.seconds = seconds
    return asked(net, windows).name


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
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(ConfigError, match=f"--engine {name}: Deciding"):
            make_engine(name, Deciding().eval(), kind())
