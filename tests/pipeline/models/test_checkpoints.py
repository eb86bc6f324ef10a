"""Checkpoints: where a path leads, what a state dict carries, and which plan it belongs to."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ckpt_export
from monai.engines import SupervisedEvaluator
from monai.handlers import CheckpointLoader

from gridgate.data.errors import CheckpointError
from gridgate.pipeline.models.checkpoints import (
    carried_plan,
    carry_plan,
    load_weights,
    training_folder,
    weights_file,
)
from gridgate.pipeline.models.run_weights import weights_fingerprint
from gridgate.pipeline.models.writing_weights import half_precision
from gridgate.pipeline.plans.plan import Plan, example_plan

PLAN = Plan.from_dict({**example_plan(), "spacing": [1.5, 1.5, 3.0], "orientation": "RAS"})


def network() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.BatchNorm3d(2))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a training, with weights that carry PLAN."""
    (tmp_path / "models").mkdir()
    torch.save(carry_plan(network().state_dict(), PLAN), tmp_path / "models" / "model.pt")
    return tmp_path


def other() -> torch.nn.Module:
    """The same network with other weights."""
    made = network()
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.add_(1)
    return made


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_plan_comes_back_and_the_file_stays_a_plain_state_dict(trained: Path) -> None:
    content = torch.load(trained / "models" / "model.pt", weights_only=True)
    assert type(content) is OrderedDict
    assert all(type(tensor) is torch.Tensor for tensor in content.values())
    held = carried_plan(content)
    assert held is not None and held["fingerprint"] == PLAN.fingerprint
    assert Plan.from_dict(held["plan"]) == PLAN
    # what torch itself keeps there (batch norm's version) is not lost
    assert content._metadata["1"] == network().state_dict()._metadata["1"]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_every_tool_loads_it(trained: Path, tmp_path: Path, half: bool) -> None:
    path = trained / "models" / "model.pt"
    wanted = network()
    if half:
        state = half_precision(torch.load(path, weights_only=True), of=path)
        torch.save(state, path)
        wanted.load_state_dict(
            {
                name: one.half().float() if one.is_floating_point() else one
                for name, one in network().state_dict().items()
            }
        )
        assert not same(wanted, network())
    plain, by_handler = other(), other()
    assert plain.load_state_dict(torch.load(path, weights_only=True), strict=True)
    assert same(plain, wanted)
    engine = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=[
            {"image": torch.zeros(1, 1, 2, 2, 2), "label": torch.zeros(1, 1, 2, 2, 2)}
        ],
        network=by_handler,
        val_handlers=[CheckpointLoader(str(path), load_dict={"model": by_handler}, strict=True)],
    )
    engine.run()
    assert same(by_handler, wanted)
    config = tmp_path / "config.json"
    config.write_text(
        '{"network_def": {"_target_": "torch.nn.Sequential", "_mode_": "default", "_args_": []}}'
    )
    exported = tmp_path / "model.ts"
    ckpt_export(
        net_id="network_def",
        filepath=str(exported),
        ckpt_file=str(path),
        config_file=str(config),
        network_def="$__import__('torch').nn.Sequential(__import__('torch').nn.Conv3d(1, 2, 1), "
        "__import__('torch').nn.BatchNorm3d(2))",
        input_shape=[1, 1, 4, 4, 4],
    )
    assert same(torch.jit.load(str(exported)), wanted)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"spacing": [2.0, 2.0, 3.0]}, ("spacing", "1.5, 1.5, 3", "2, 2, 3")),
        ({"orientation": "LPS"}, ("orientation", "RAS", "LPS")),
        (
            {"intensity": {"mode": "window", "low": -100, "high": 250}},
            ("intensity", "-175", "-100"),
        ),
        ({"roi_size": [64, 64, 96]}, ("roi_size", "64, 64, 64", "64, 64, 96")),
    ],
)
def test_weights_of_another_plan_are_refused(
    trained: Path, changes: dict[str, Any], told: tuple[str, ...]
) -> None:
    target = other()
    with pytest.raises(CheckpointError) as caught:
        load_weights(target, trained, plan=PLAN.replace(**changes))
    assert all(word in str(caught.value) for word in told)
    unchanged = {"spacing", "intensity", "orientation", "roi_size"} - {told[0]}
    assert not any(f"{name} " in str(caught.value) for name in unchanged)
    assert same(target, other())  # nothing was loaded


def test_the_same_plan_and_weights_without_one_are_taken(trained: Path) -> None:
    assert same(load_weights(other(), trained, plan=PLAN), network())
    assert same(load_weights(other(), trained), network())
    torch.save(network().state_dict(), trained / "bare.pt")
    assert same(load_weights(other(), trained / "bare.pt", plan=PLAN), network())


def test_the_plan_in_another_tools_holder_is_compared_as_well(trained: Path) -> None:
    torch.save({"model": carry_plan(network().state_dict(), PLAN)}, trained / "held.pt")
    with pytest.raises(CheckpointError, match="orientation"):
        load_weights(other(), trained / "held.pt", plan=PLAN.replace(orientation="LPS"))


def test_a_folder_means_its_best_weights(trained: Path) -> None:
    assert weights_file(trained) == trained / "models" / "model.pt"
    assert same(load_weights(other(), str(trained)), network())
    assert weights_fingerprint(trained) == weights_fingerprint(trained / "models" / "model.pt")
    (trained / "models" / "model.pt").rename(trained / "model.pt")  # as older trainings wrote it
    assert weights_file(trained) == trained / "model.pt"
    assert same(load_weights(other(), trained), network())
    (trained / "model.pt").unlink()
    with pytest.raises(CheckpointError, match=r"models/model\.pt: there is no such checkpoint"):
        load_weights(other(), trained)


def test_the_folder_of_a_training_is_found_from_each_of_its_files(trained: Path) -> None:
    for path in (trained, trained / "models" / "model.pt", trained / "last.pt"):
        assert training_folder(path) == trained
