"""The demo's own logic; a stand-in for the workflows, which take minutes, writes their files."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.cli import demo_steps as demo
from gridgate.pipeline.cli.demo_steps import DemoError, run_demo

from ..reports.fake_runs import (
    fake_evaluation,
    fake_predictions,
    fake_training,
    small_phantoms,
)

Play = Callable[..., subprocess.CompletedProcess[str]]


def stand_in(**codes: int) -> tuple[list[list[str]], Play]:
    """The commands that come, and a subprocess.run that writes what they would."""
    seen: list[list[str]] = []

    def play(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        name, bundle, source, output = command[3:7]
        assert command[1:3] == ["-m", "gridgate"] and Path(bundle).name == (
            "phantom_attention_unet" if name == "train" else "training"
        )
        folder = Path(output)
        if name == "train":
            fake_training(folder)
            (folder / "model.pt").write_bytes(b"")
        elif name == "evaluate":
            fake_evaluation(folder, Path(source))
        else:
            fake_predictions(folder, Path(source))
        return subprocess.CompletedProcess(command, codes.get(name, 1 if name == "infer" else 0))

    return seen, play


def small_demo(folder: Path) -> Path:
    return run_demo(folder, cases=1, unseen=1, scans=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    small_phantoms(monkeypatch)
    monkeypatch.setattr("gridgate.pipeline.reports.sections.attention_of", lambda *_: None)


def test_demo_runs_what_it_prints_and_can_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seen, play = stand_in()
    monkeypatch.setattr(subprocess, "run", play)
    report = small_demo(Path("demo"))
    assert report == Path("demo/report.html") and report.is_file()
    printed = capfd.readouterr().out
    for command in seen:
        assert "$ " + " ".join(command[2:]) in printed
    assert "demo/unseen demo/evaluation --part all" in printed
    assert "exit code 1" in printed and "demo/report.html" in printed
    summary = json.loads(Path("demo/evaluation/summary.json").read_text())
    dice = {
        "right kidney": summary["labels"]["right_kidney"]["dice"]["mean"],
        "mean": summary["mean"]["dice"],
    }
    for name, value in dice.items():
        assert re.search(rf"^  {name} +{value:.3f}$", printed, flags=re.MULTILINE)

    dataset = (Path("demo/dataset/dataset.json")).stat().st_mtime_ns
    (Path("demo/predictions") / "left_over.nii.gz").touch()
    small_demo(Path("demo"))
    assert Path("demo/dataset/dataset.json").stat().st_mtime_ns == dataset
    assert not Path("demo/predictions/left_over.nii.gz").exists()


@pytest.mark.parametrize("codes", [{"train": 1}, {"evaluate": 1}, {"infer": 0}])
def test_demo_ends_with_an_error_when_a_step_does(
    codes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", stand_in(**codes)[1])
    with pytest.raises(DemoError, match="code"):
        small_demo(tmp_path / "demo")
    assert not (tmp_path / "demo" / "report.html").exists()


def test_demo_ends_with_an_error_when_another_case_failed(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text(
        "case,input,output,status\nbroken_scan,a,,failed\nscan_1,b,,failed\n"
    )
    with pytest.raises(DemoError, match=r"broken_scan, scan_1"):
        demo._check_predictions(tmp_path, code=1, scans=1)


def test_demo_leaves_folders_of_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", stand_in()[1])
    (tmp_path / "training").mkdir()
    with pytest.raises(ConfigError, match="--folder"):
        small_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["training"]
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        small_demo(tmp_path / "file")


def test_demo_removes_a_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "ct.nii.gz").touch()
    root = demo._claim(tmp_path / "demo")
    (root / "scans").symlink_to(tmp_path / "precious")
    demo._claim(root)
    assert not (root / "scans").exists() and (tmp_path / "precious" / "ct.nii.gz").exists()
