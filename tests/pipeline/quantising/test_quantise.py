"""A network in INT8: made and measured by the command, and used only where it belongs."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.config.twins import write_twins
from gridgate.pipeline.evaluation.metrics import METRICS
from gridgate.pipeline.evaluation.results import METRICS_FILE, SUMMARY_FILE, read_summary
from gridgate.pipeline.inference.parts import PartsWindow
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.pipeline.models.engines.by_int8 import FOLDER, Int8Facts
from gridgate.pipeline.models.engines.engine import make_engine
from gridgate.pipeline.models.engines.network_key import weights_key
from gridgate.pipeline.models.engines.window_network import WindowKind
from gridgate.pipeline.quantising import quantise
from gridgate.pipeline.quantising.comparison import Comparison, compare, refuse_failed
from gridgate.pipeline.quantising.copying import copy_bundle, tell_on_page
from gridgate.pipeline.segmenter import Segmenter

BUNDLE = "phantom_attention_unet"
QUICK = ["--overlap", "0.1", "--amp", "False", "--folds", "3", "--isolate", "False"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, phantom_dataset: Path) -> Path:
    """The phantoms' bundle with INT8, by the command."""
    pytest.importorskip("nncf", reason="nncf is not installed")
    pytest.importorskip("openvino", reason="openvino is not installed")
    folder = tmp_path_factory.mktemp("quantised") / "fast"
    words = ["quantise", BUNDLE, str(phantom_dataset), str(folder), "--windows", "8"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(quantise, "MOST", 0.05)  # of two phantoms
        patched.setattr(quantise, "usable", lambda kind: [])  # they are timed, which takes some
        assert main([*words, *QUICK]) == 0
    return folder


def test_the_copy_has_all_of_the_bundle_and_tells_what_int8_costs(made: Path) -> None:
    facts = Int8Facts.read(made / FOLDER)
    assert set(facts.dice) == set(json_of(made / "configs" / "metadata.json")["plan"]["labels"][1:])
    assert facts.cases == 2 and facts.scheme == "performance"
    assert list(facts.seconds)[-1] == "openvino int8" and "torch float32" in facts.seconds
    assert set(facts.made_with) == {"openvino", "nncf"}
    page = (made / "docs" / "README.md").read_text()
    liver = facts.dice["liver"]
    assert f"| liver | {liver['float32']:.4f} | {liver['int8']:.4f} |" in page
    assert not [path.name for path in made.parent.iterdir() if path != made], "left over"
    assert {path.name for path in (made / FOLDER).iterdir()} == {
        "int8.json",
        "model.xml",
        "model.bin",
    }
    model = (made / FOLDER / "model.xml").read_text()
    assert "FakeQuantize" in model and 'element_type="i8"' in model


def test_masks_are_nearly_those_of_float32(made: Path, phantom_dataset: Path) -> None:
    image = load_dataset(phantom_dataset).cases[0].images[0]
    settings: dict[str, Any] = {"overlap": 0.1, "amp": False}
    exact = Segmenter(made, device="cpu", settings={**settings, "engine": "torch"})(str(image))
    small = Segmenter(made, device="cpu", settings={**settings, "engine": "int8"})(str(image))
    same = float((exact.labels == small.labels).mean())
    assert 0.99 < same < 1.0, "INT8 is not float32, and nearly"
    for name, ml in exact.volumes_ml.items():
        assert small.volumes_ml[name] == pytest.approx(ml, rel=0.1, abs=2.0)


def test_infer_says_that_it_was_int8_and_takes_no_other_masks_for_it(
    made: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    image = load_dataset(phantom_dataset).cases[0].images[0]
    other = tmp_path / "other"  # made of other windows: other masks
    shutil.copytree(made, other)
    model = other / FOLDER / "model.xml"
    model.write_text(model.read_text() + "\n")
    (tmp_path / "scans").mkdir()
    shutil.copy(image, tmp_path / "scans")
    masks = tmp_path / "masks"
    seen = []
    for bundle, engine in (
        (made, "int8"),
        (made, "int8"),
        (other, "int8"),
        (made, "torch"),
        (made, "openvino"),
    ):
        words = ["infer", str(bundle), str(tmp_path / "scans"), str(masks), "--engine", engine]
        words += ["--overlap", "0.1", "--report", "False", "--isolate", "False", "--amp", "False"]
        assert main(words) == 0
        with open(masks / "cases.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        seen.append((row["engine"], (masks / row["output"]).stat().st_mtime_ns))
    names, times = zip(*seen, strict=True)
    assert names[0] == names[2] == "openvino int8" and names[3] == "torch float32"
    assert times[1] == times[0], "done already"
    assert times[0] < times[2] < times[3], "masks of another network were taken for its own"
    assert times[4] == times[3], "float32 is float32, whatever computes it"


def test_a_run_that_cannot_be_is_refused_before_its_first_case(
    phantom_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = load_dataset(phantom_dataset).cases[0].images[0]
    words = ["infer", BUNDLE, str(image), str(tmp_path / "masks"), "--engine", "int8"]
    assert main(words) == 1
    assert "int8.json; `gridgate quantise BUNDLE DATASET OUTPUT`" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_loss_of_dice_leaves_nothing(
    phantom_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("nncf", reason="nncf is not installed")
    pytest.importorskip("openvino", reason="openvino is not installed")
    loss = {"performance": 0.03, "mixed": 0.0021, "transformer": 0.01}
    made: list[str] = []

    def convert(*given: Any) -> None:
        *_, folder, scheme = given
        folder.mkdir(exist_ok=True)
        made.append(scheme)

    def compared(_: Path, small: Path) -> Comparison:
        return Comparison(7, {"liver": {"float32": 0.95, "int8": 0.95 - loss[small.name]}})

    monkeypatch.setattr(quantise, "convert_to_int8", convert)
    monkeypatch.setattr(quantise, "evaluate", lambda *_: None)
    monkeypatch.setattr(quantise, "compare", compared)
    monkeypatch.setattr(
        quantise, "_seconds", lambda *_: {"torch float32": 1.0, "openvino int8": 0.5}
    )
    words = ["quantise", BUNDLE, str(phantom_dataset), str(tmp_path / "fast"), "--windows", "2"]
    assert main([*words, *QUICK]) == 1
    said = capsys.readouterr().err
    assert "changes by more than 0.002: liver -0.0021 (mean over 7 cases)" in said
    assert not list(tmp_path.iterdir())
    assert made == ["performance", "mixed", "transformer"]
    loss["mixed"] = 0.0019
    made.clear()
    assert main([*words, *QUICK]) == 0
    assert "2.00 times as fast" in capsys.readouterr().out
    assert made == ["performance", "mixed"], "the first that costs nothing"
    assert Int8Facts.read(tmp_path / "fast" / FOLDER).scheme == "mixed"


def test_other_weights_windows_and_files_are_refused(made: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"engine": "int8", "amp": False}
    other = torch.load(made / "models" / "model.pt", weights_only=True)
    for tensor in other.values() if "model" not in other else other["model"].values():
        if torch.is_tensor(tensor) and tensor.is_floating_point():
            tensor += 1
    torch.save(other, tmp_path / "model.pt")
    with pytest.raises(ConfigError, match="made of other weights than these"):
        Segmenter(made, device="cpu", checkpoint=tmp_path / "model.pt", settings=settings)
    network = torch.nn.Conv3d(1, 2, 1)
    Int8Facts((1, 8, 8, 8), weights_key(network)).write(tmp_path)
    kind = WindowKind((1, 8, 8, 16), None, torch.device("cpu"), 1)
    with pytest.raises(
        ConfigError, match=r"made for windows of \[8, 8, 8\] voxels, not \[8, 8, 16\]"
    ):
        make_engine("int8", network, kind, int8=tmp_path)
    with pytest.raises(ConfigError, match="gridgate quantise BUNDLE DATASET OUTPUT"):
        Segmenter(BUNDLE, device="cpu", settings=settings)
    for text in ("{torn", "[]", '{"window": 3, "weights": ""}', '{"cases": 1}'):
        (tmp_path / "int8.json").write_text(text)
        with pytest.raises(ConfigError, match=r"cannot be read .*make it again"):
            Int8Facts.read(tmp_path)
    with pytest.raises(ConfigError, match="this bundle has none"):
        make_engine("int8", network, kind)
    kind = WindowKind((1, 8, 8, 8), None, torch.device("cuda"), 1)
    with pytest.raises(ConfigError, match="it computes on CPUs, not on cuda: --device cpu"):
        make_engine("int8", network, kind, int8=made / FOLDER)
    with pytest.raises(ConfigError, match="several networks"):
        PartsWindow([], roi_size=(8, 8, 8), engine="int8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--windows", "0"], "--windows 0"),
        (["--engine", "torch"], "--engine"),
        (["--checkpoint", "other.pt"], "--checkpoint"),
        (["--load_pretrain", "False"], "--load_pretrain"),
        (["--roi_size", "[32, 32, 32]"], "--roi_size"),
        (["--folds", "1"], "--folds 1 is a training on all cases"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(
    words: list[str],
    said: str,
    phantom_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("nncf", reason="nncf is not installed")
    pytest.importorskip("openvino", reason="openvino is not installed")
    target = tmp_path / "fast"
    assert main(["quantise", BUNDLE, str(phantom_dataset), str(target), *words]) != 0
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_windows_are_those_that_the_network_sees() -> None:
    """Of a volume smaller than a window in one axis, with a region."""
    image = torch.randn(1, 12, 40, 40)
    region = torch.zeros(12, 40, 40, dtype=torch.bool)
    region[:, :18, :18] = True
    seen: list[torch.Tensor] = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.extend(windows.clone())
        return windows.repeat(1, 2, 1, 1, 1)

    inferer = SlidingWindow((16, 16, 16), amp=False, padding=-3.0)
    list(inferer.slabs(image, network, region=region))
    asked = inferer.example_windows(MetaTensor(image), 100, region=region, seed=0)
    assert len(asked) == len(seen) > 1
    assert all(any(torch.equal(one, other) for other in seen) for one in asked)
    few = inferer.example_windows(image, 2, region=region, seed=1)
    assert len(few) == 2 and not torch.equal(few[0], few[1])
    nothing = inferer.example_windows(image, 1, region=torch.zeros_like(region), seed=0)
    assert len(nothing) == 1, "air alone"


def test_a_bundle_of_an_earlier_version_learns_of_int8(made: Path, tmp_path: Path) -> None:
    """Its configs and their twins get the line; the page's section is one, whatever was there."""
    old = tmp_path / "old"
    shutil.copytree(made, old)
    for file in (old / "configs").glob("*.yaml"):
        lines = [line for line in file.read_text().splitlines() if "/models/int8" not in line]
        file.write_text("\n".join(lines) + "\n")
    write_twins(old)
    new = tmp_path / "new"
    new.mkdir()
    copy_bundle(old, new)
    for name in ("inference.yaml", "inference.json", "evaluate.yaml", "evaluate.json"):
        assert "/models/int8" not in (old / "configs" / name).read_text()
        assert (new / "configs" / name).read_text() == (made / "configs" / name).read_text()
    tell_on_page(["| a |"], new)
    tell_on_page(["| b |"], new)
    page = (new / "docs" / "README.md").read_text()
    assert page.count("## INT8") == 1 and "| b |" in page and "| a |" not in page
    (old / "configs" / "inference.yaml").write_text("inferer: {}\n")
    shutil.rmtree(new)
    new.mkdir()
    with pytest.raises(ConfigError, match=r"inference\.yaml: the inferer has no line"):
        copy_bundle(old, new)


def test_times_are_told_where_nothing_else_could_be_timed() -> None:
    dice = Comparison(1, {"liver": {"float32": 0.9, "int8": 0.9}})
    alone = quantise.Quantised(Path("fast"), dice, {"openvino int8": 0.5})
    assert alone.lines()[-1] == "Mean Dice over 1 cases. A window takes openvino int8 0.5 s."
    beside = quantise.Quantised(Path("fast"), dice, {"torch float32": 2.0, "openvino int8": 0.5})
    assert beside.lines()[-1].endswith("INT8 is 4.00 times as fast as the fastest of the others.")


def test_dice_is_compared_label_by_label(tmp_path: Path) -> None:
    """By hand: a label that is nowhere counts for nothing, one that INT8 invents as lost."""
    nan = math.nan
    exact = {"a": {"liver": 0.9, "spleen": nan}, "b": {"liver": 0.8, "spleen": nan}}
    small = {"a": {"liver": 0.9, "spleen": nan}, "b": {"liver": 0.7, "spleen": 0.0}}
    write(tmp_path / "exact", exact)
    write(tmp_path / "small", small)
    found = compare(tmp_path / "exact", tmp_path / "small")
    assert found.cases == 2
    assert found.dice["liver"] == pytest.approx({"float32": 0.85, "int8": 0.8})
    assert found.dice["spleen"] == {"float32": 1.0, "int8": 0.0}
    assert found.most == 1.0 and found.changes(0.1) == "spleen -1.0000"
    for kept in (exact, small):
        for labels in kept.values():
            labels["gallbladder"] = nan
    write(tmp_path / "exact_3", exact)
    write(tmp_path / "small_3", small)
    more = compare(tmp_path / "exact_3", tmp_path / "small_3")
    assert list(more.unmeasured) == ["gallbladder"]
    assert "| gallbladder | not measured: no case has it | | |" in more.lines()
    write(tmp_path / "none", {"a": {"liver": nan}})
    with pytest.raises(DatasetError, match="no label has a Dice"):
        compare(tmp_path / "none", tmp_path / "none")
    summary = {**read_summary(tmp_path / "small"), "failed": {"c": "no voxels"}}
    (tmp_path / "small" / SUMMARY_FILE).write_text(json.dumps(summary))
    with pytest.raises(DatasetError, match=r"c: it could not be measured \(no voxels\)"):
        refuse_failed(tmp_path / "small")
    refuse_failed(tmp_path / "exact")


def test_nothing_is_told_to_its_maker() -> None:
    """NNCF sends what is done with it over the network, unless it is told not to."""
    pytest.importorskip("nncf", reason="nncf is not installed")
    pytest.importorskip("openvino", reason="openvino is not installed")
    code = """
import os, sys
from gridgate.pipeline.quantising.convert import _quietly
with _quietly():
    import nncf
    print("never seen")
from nncf.telemetry.wrapper import telemetry
assert "pytest" not in sys.modules and "NNCF_CI" not in os.environ
print(type(telemetry).__name__)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["MagicMock"], "NNCF's name for what sends nothing"


def write(folder: Path, dice: dict[str, dict[str, float]]) -> None:
    folder.mkdir()
    names = list(next(iter(dice.values())))
    lines = [",".join(["case", "label", "value", *METRICS, "tolerance_mm", "status"])]
    for case, labels in dice.items():
        for name, number in labels.items():
            numbers = {metric: "" for metric in METRICS} | {"dice": repr(number)}
            row = [case, name, str(names.index(name) + 1), *numbers.values(), "2", "ok"]
            lines.append(",".join(row))
    (folder / METRICS_FILE).write_text("\n".join(lines) + "\n")
    (folder / SUMMARY_FILE).write_text(json.dumps({"cases": len(dice), "failed": {}}))


def json_of(file: Path) -> Any:
    return json.loads(file.read_text())
