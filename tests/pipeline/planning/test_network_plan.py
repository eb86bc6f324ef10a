"""The size of the network that a time allows, with steps whose seconds are known."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.planning import bundle, network_plan
from gridgate.pipeline.planning.measures.machine import Machine
from gridgate.pipeline.planning.measures.pace import Pace
from gridgate.pipeline.planning.measures.trial import Candidate, Step
from gridgate.pipeline.plans.new_bundle import new_bundle

from .fingerprints import fingerprint, size

WIDE = [12, 24, 48, 96, 192]


def planned(
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    *,
    step: float = 0.1,
    ratio: float = 1.66,
    shape: tuple[int, int, int] = (35, 50, 36),
    **asked: Any,
) -> Any:
    """A plan for a CPU on which a step of 32 x 48 x 32 takes so long, the medium's longer."""

    def try_step(self: Candidate, window: list[int], batch: int, machine: Machine) -> Step:
        wide = ratio if "filters" in self.options else 1.0
        took = step * wide * torch.Size(window).numel() / (32 * 48 * 32) * batch / 2
        return Step(took, took / 3, 1000)

    def pace(*arguments: Any) -> Pace:
        return Pace(arguments[4].seconds, 1.0, 1.0, 0.1)

    monkeypatch.setattr(Candidate, "try_step", try_step)
    monkeypatch.setattr(network_plan, "measure_pace", pace)
    monkeypatch.setattr(Candidate, "needed", lambda *_, **__: 1000)
    machine = Machine(torch.device("cpu"), "cpu", 10**10, False, seconds, "by hand")
    found = fingerprint([{"liver": size()}] * 200, shape=shape)
    return bundle.plan_bundle(found, machine, name="some", **asked)


@pytest.mark.parametrize(
    ("seconds", "wide"),
    [
        (1200, True),  # 12,000 iterations of 0.1 s, 7,200 of 0.166 s
        (600, False),  # 6,000, and 3,600 are too few
        (300, False),  # 3,000: the medium size is not tried
    ],
)
def test_more_time_goes_into_a_wider_network(
    seconds: float, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = planned(monkeypatch, seconds)
    told = {one.name: one for one in found.decisions}
    assert told["size"].value == ("medium" if wide else "small")
    assert (found.plan.network.get("filters") == WIDE) == wide
    assert found.plan.training["learning_rate"] == 0.003
    if wide:
        assert "4,000 iterations or more" in told["size"].reason


def test_a_size_that_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {one.name: one.value for one in planned(monkeypatch, 1200, size="small").decisions}
    assert told["size"] == "small"
    narrow = planned(monkeypatch, 1200, settings={"network::feature_scale": 16})
    assert narrow.plan.network["feature_scale"] == 16
    medium = planned(monkeypatch, 300, size="medium")
    assert medium.plan.network["filters"] == WIDE
    # none of its own: the small one stays, and to ask for it is an error
    assert "filters" not in planned(monkeypatch, 1200, network="unet").plan.network
    with pytest.raises(ConfigError, match=r"--size medium: U-Net .*has none; take small or paper"):
        planned(monkeypatch, 1200, network="unet", size="medium")


def test_time_goes_into_a_window_that_does_not_cover_the_case_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {
        one.name: one.value
        for one in planned(monkeypatch, 1200, step=0.01, shape=(400, 400, 400)).decisions
    }
    assert told["size"] == "small" and min(told["roi_size"]) < 400


def test_a_new_bundle_has_the_medium_size_where_there_is_one(tmp_path: Path) -> None:
    folder = new_bundle("attention_unet", "phantom", tmp_path / "one", size="medium")
    assert "12, 24, 48, 96, 192" in (folder / "configs" / "train.yaml").read_text()
    with pytest.raises(ConfigError, match="size 'medium': unetr has paper, small"):
        new_bundle("unetr", "phantom", tmp_path / "other", size="medium")


def test_the_time_of_a_case_has_its_flips_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # 0.1 s as measured; a fit reckons its evaluations with it
    settings = {"mirror_axes": [0, 1]}
    assert planned(monkeypatch, 300, settings=settings).pace.case == pytest.approx(0.4)
    settings["test_mirror_axes"] = [1]
    assert planned(monkeypatch, 300, settings=settings).pace.case == pytest.approx(0.2)
    settings["test_mirror_axes"] = []
    assert planned(monkeypatch, 300, settings=settings).pace.case == pytest.approx(0.1)
