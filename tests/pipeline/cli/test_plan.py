"""`gridgate plan`: from a dataset to a bundle that trains, with each decision's reason."""

import json
from pathlib import Path

import pytest
import torch

from gridgate.data.datasets.fingerprint.numbers import Fingerprint
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.models.checkpoints import load_checkpoint
from gridgate.pipeline.planning.measures.trial import Candidate, Step
from gridgate.pipeline.plans.resolved import bundle_plan


@pytest.fixture(autouse=True)
def known_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 1e-6 s a voxel: a trial starts a process of its own, which takes its time."""

    def try_step(self: Candidate, window: list[int], batch: int, machine: object) -> Step:
        seconds = 1e-6 * batch * window[0] * window[1] * window[2]
        return Step(seconds, seconds / 3, 10**8)

    monkeypatch.setattr(Candidate, "try_step", try_step)


def plan(*words: object) -> int:
    return main(["plan", *map(str, words), "--network::feature_scale", "32"])


def decisions(bundle: Path) -> dict[str, dict[str, object]]:
    content = json.loads((bundle / "plan.json").read_text(encoding="utf-8"))
    return {one["name"]: one for one in content["decisions"]}


@pytest.mark.parametrize("command", ["plan", "fit"])
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("roi_size", "96", "three whole numbers"),
        ("roi_size", "[96, 96]", "three whole numbers"),
        ("spacing", "1.5", "three numbers above 0"),
        ("spacing", "[1, 1, 0]", "three numbers above 0"),
        ("training::batch_size", "two", "a whole number of 1 or more"),
        ("roi_sise", "[8, 8, 8]", "no such setting"),
        ("training::average_decay", "1", "0 (no averaging) to below 1"),
        ("network::norn", "batch", "Did you mean --network::norm?"),
        ("network::spatial_dims", "2", "gridgate new-bundle NETWORK DATASET --spatial-dims 2"),
        ("network::name", "unet", "--networks NAME"),
        ("mirror_axes", "2", "a list of axes"),
        ("test_mirror_axes", "2", "a list of axes"),
        ("overlap", "half", "a number from 0 to below 1"),
        ("overlap", "null", "a number from 0 to below 1"),
        ("channels", "two", "a whole number of 1 or more"),
    ],
)
def test_settings_are_checked_before_anything_is_measured(
    command: str,
    name: str,
    value: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [command, str(tmp_path / "none"), *(["O"] if command == "fit" else [])]
    assert main([*words, f"--{name}", value]) == 1
    said = capsys.readouterr().err
    assert says in said and "none" not in said


def test_the_bundle_trains_and_infers_without_an_edit(
    phantom_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, run = tmp_path / "bundle", tmp_path / "run"
    assert plan(phantom_dataset, "--to", bundle, "--time", "20m") == 0
    said = capsys.readouterr().out
    assert "roi_size" in said and f"next:    gridgate train {bundle}" in said
    found = decisions(bundle)
    assert found["mirror_axes"]["value"] == []  # left and right kidneys, and the aorta behind
    assert found["modality"]["value"] == "CT" and found["keep_largest"]["value"] is not False
    planned = bundle_plan(bundle)
    for name in ("spacing", "roi_size", "intensity", "mirror_axes", "expected"):
        assert planned[name] == found[name]["value"]
    assert planned["training"]["batch_size"] == found["batch_size"]["value"]
    assert planned["training"]["augmentation"]["foreground"] == 0.5
    fingerprint = json.loads((bundle / "fingerprint.json").read_text(encoding="utf-8"))
    assert len(Fingerprint.from_dict(fingerprint).cases) == 6

    short = ["--epochs", "1", "--iterations_per_epoch", "2", "--val_interval", "1"]
    small = ["--roi_size", "[32, 16, 16]", "--spacing", "[12, 12, 12]", "--num_workers", "0"]
    words = ["train", str(bundle), str(phantom_dataset), str(run), *short, *small]
    assert main([*words, "--batch_size", "2", "--amp", "False"]) == 0
    weights = load_checkpoint(run / "models" / "model.pt")
    assert all(torch.isfinite(one).all() for one in weights.values() if torch.is_tensor(one))
    # what it was planned by goes with the weights
    assert (run / "plan.json").read_bytes() == (bundle / "plan.json").read_bytes()


def test_every_decision_has_a_reason_that_can_be_read_later(
    phantom_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "b"
    assert plan(phantom_dataset, "--to", bundle) == 0
    capsys.readouterr()
    assert main(["plan", str(bundle), "--explain"]) == 0
    said = capsys.readouterr().out
    for name, one in decisions(bundle).items():
        assert one["reason"], name
        assert f"\n{name} " in f"\n{said}"
    assert "the median of 6 cases" in said
    (bundle / "plan.json").write_text("{}")
    assert main(["plan", str(bundle), "--explain"]) == 1
    assert "cannot be read as a plan's record" in capsys.readouterr().err


def test_without_a_target_nothing_is_written(
    phantom_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan(phantom_dataset, "--explain") == 0
    assert "the median of 6 cases" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_settings_are_taken_as_they_are_given(phantom_dataset: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    given = ["--spacing", "[6, 6, 6]", "--roi_size", "[32, 32, 16]", "--mirror_axes", "[1]"]
    given += ["--training::batch_size", "3", "--training::epochs", "7", "--keep_largest", "False"]
    given += ["--intensity", "{mode: window, low: -100, high: 200}"]
    assert plan(phantom_dataset, "--to", bundle, *given) == 0
    planned, found = bundle_plan(bundle), decisions(bundle)
    assert planned["spacing"] == [6, 6, 6] and planned["roi_size"] == [32, 32, 16]
    assert planned["mirror_axes"] == [1] and planned["keep_largest"] is False
    assert planned["training"]["batch_size"] == 3 and planned["training"]["epochs"] == 7
    assert planned["intensity"]["mode"] == "window"
    assert planned["network"]["feature_scale"] == 32
    for name in ("spacing", "roi_size", "mirror_axes", "batch_size", "epochs", "intensity"):
        assert str(found[name]["reason"]).startswith("given on the command line")


def test_of_scans_that_keep_their_spacing_the_median_one_decides_the_window(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    assert plan(phantom_dataset, "--to", tmp_path / "usual") == 0
    assert plan(phantom_dataset, "--to", tmp_path / "own", "--spacing", "null") == 0
    usual, own = bundle_plan(tmp_path / "usual"), bundle_plan(tmp_path / "own")
    assert own["spacing"] is None and decisions(tmp_path / "own")["spacing"]["value"] is None
    assert own["roi_size"] == usual["roi_size"]  # decided in the median spacing, too


def test_a_value_that_the_network_refuses_is_told_in_words(
    phantom_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in ("bach", "{a: 1}"):
        words = ["plan", str(phantom_dataset), "--to", str(tmp_path / "b")]
        assert main([*words, "--network::norm", value]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: network {'name': 'attention_unet'"), said
        assert not (tmp_path / "b").exists()


def test_a_second_plan_where_a_window_sees_little(phantom_dataset: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    assert plan(phantom_dataset, "--to", bundle, "--memory", "0.7GB", "--time", "2m") == 0
    half = bundle.with_name("b_half")
    fine, coarse = bundle_plan(bundle), bundle_plan(half)
    assert coarse["spacing"] == [2 * mm for mm in fine["spacing"]]
    assert coarse["labels"] == fine["labels"]
    assert "half resolution" in str(decisions(half)["spacing"]["reason"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--network", "resnet"], "resnet"),
        (["--memory", "1MB"], "1MB"),
        (["--memory", "much"], "such as 16GB"),
        (["--time", "soon"], "such as 20m"),
        (["--time", "1s"], "too short"),
        (["--rio_size", "[1, 1, 1]"], "rio_size"),
        (["--roi_size", "[17, 17, 17]"], "17"),
        (["--device", "tpu"], "tpu"),
        (["--workers", "0"], "--workers 0"),
    ],
)
def test_what_cannot_be_planned_leaves_nothing(
    words: list[str],
    why: str,
    phantom_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert plan(phantom_dataset, "--to", tmp_path / "b", *words) == 1
    assert why in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_not_touched(
    phantom_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b").mkdir()
    assert plan(phantom_dataset, "--to", tmp_path / "b") == 1
    assert "exists already" in capsys.readouterr().err
    assert plan(tmp_path / "b", "--to", tmp_path / "c") == 1
    assert "dataset.json" in capsys.readouterr().err
