"""`gridgate fit`: from a dataset to a bundle of all folds, stopped at any step and gone on with."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.phantom.dataset import write_phantom_dataset
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.fitting import fit as fitting
from gridgate.pipeline.fitting import outcome
from gridgate.pipeline.fitting.choices.thresholds import ThresholdChoice
from gridgate.pipeline.fitting.combined import trained_plan
from gridgate.pipeline.models.build import build_network
from gridgate.pipeline.models.checkpoints import load_checkpoint, load_weights

from .quick_fits import WORDS, known_steps


@pytest.fixture(autouse=True)
def quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    known_steps(monkeypatch)


def no_page(*words: Any) -> bytes:
    """Pictures take seconds, and are looked at elsewhere."""
    return b"no page"


def test_every_case_is_measured_once_by_the_fold_that_did_not_see_it(
    fitted: Path, coarse_dataset: Path
) -> None:
    with open(fitted / "cross_validation" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    cases = {case.id for case in load_dataset(coarse_dataset).cases}
    assert {row["case"] for row in rows} == cases
    assert len(rows) == 6 * len(cases)  # labels
    for fold in (0, 1):
        run = fitted / "runs" / "attention_unet"
        splits = json.loads((run / f"fold_{fold}" / "splits.json").read_text())
        with open(run / f"fold_{fold}_cases" / "metrics.csv", newline="") as file:
            measured = {row["case"] for row in csv.DictReader(file)}
        assert measured == set(splits[fold]["validation"])
        assert not measured & set(splits[fold]["train"])
    summary = json.loads((fitted / "cross_validation" / "summary.json").read_text())
    liver = [float(row["dice"]) for row in rows if row["label"] == "liver"]
    assert summary["labels"]["liver"]["dice"]["mean"] == pytest.approx(np.mean(liver))
    report = (fitted / "report.html").read_text()
    assert "attention_unet, fold 2" in report and "the worst" in report
    page = (fitted / "docs" / "README.md").read_text()
    assert "Cross-validation on `phantom`" in page and "2 trainings of 3, 3 iterations" in page


def test_the_bundle_is_the_mean_of_its_folds(
    fitted: Path, coarse_dataset: Path, tmp_path: Path
) -> None:
    run = fitted / "runs" / "attention_unet"

    def chances(trained: Path) -> torch.Tensor:
        plan = trained_plan(trained)
        network = build_network(plan.network, in_channels=1, out_channels=len(plan.labels))
        with torch.inference_mode():
            logits = load_weights(network, trained, plan).eval()(window)
        return torch.softmax(logits, 1)

    window = torch.randn(1, 1, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    folds = [chances(run / f"fold_{fold}") for fold in (0, 1)]
    assert (folds[0] - folds[1]).abs().max() > 1e-3
    torch.testing.assert_close(chances(fitted), (folds[0] + folds[1]) / 2, atol=1e-5, rtol=0)

    scan = next(iter(load_dataset(coarse_dataset).cases)).images[0]
    out = tmp_path / "mask.nii.gz"
    assert main(["infer", str(fitted), str(scan), str(out), "--isolate", "false"]) == 0
    assert sitk.ReadImage(str(out)).GetSize() == sitk.ReadImage(str(scan)).GetSize()
    exported = tmp_path / "model.ts"
    assert main(["export", str(fitted), str(exported)]) == 0
    assert exported.is_file()


@pytest.mark.parametrize("stopped", ["train", "write_combined"])
def test_a_stopped_fit_goes_on_to_the_same_weights(
    stopped: str,
    fitted: Path,
    coarse_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = outcome if stopped == "write_combined" else fitting
    real: Callable[..., Any] = getattr(module, stopped)
    calls: list[Any] = []

    def stop(*words: Any, **more: Any) -> Any:
        calls.append(words)
        if len(calls) == (1 if stopped == "write_combined" else 2):
            raise KeyboardInterrupt
        return real(*words, **more)

    folder = tmp_path / "fitted"
    words = ["fit", str(coarse_dataset), str(folder), *WORDS]
    monkeypatch.setattr(outcome, "fit_page", no_page)
    with monkeypatch.context() as patch:
        patch.setattr(module, stopped, stop)
        assert main(words) == 130
    done = [name for name, step in steps(folder).items() if step["done"]]
    assert main(words) == 0
    assert all(steps(folder)[name]["done"] for name in done)
    ours, theirs = load_checkpoint(folder), load_checkpoint(fitted)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def steps(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "fit.json").read_text())["steps"]
    return content


def test_a_fit_that_is_done_does_nothing_more(
    fitted: Path, coarse_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (fitted / "models" / "model.pt").stat().st_mtime_ns
    for name in ("train", "evaluate", "write_outcome"):
        monkeypatch.setattr(fitting, name, None)
    assert main(["fit", str(coarse_dataset), str(fitted), *WORDS]) == 0
    assert (fitted / "models" / "model.pt").stat().st_mtime_ns == before


def test_other_words_in_its_folder_are_refused(
    fitted: Path, coarse_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(coarse_dataset), str(fitted), *WORDS, "--seed", "1"]) == 1
    assert "seed was 0 and is now 1" in capsys.readouterr().err


def test_a_fit_that_was_copied_goes_on_with_more_time(
    fitted: Path, coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied without times, and stopped before the last step, which is done again here."""
    folder = tmp_path / "copied"
    shutil.copytree(fitted, folder, symlinks=True, copy_function=shutil.copyfile)
    record = json.loads((folder / "fit.json").read_text())
    del record["steps"]["combine"]
    (folder / "fit.json").write_text(json.dumps(record))
    monkeypatch.setattr(fitting, "write_outcome", lambda *_: None)
    assert main(["fit", str(coarse_dataset), str(folder), *WORDS, "--time", "3h"]) == 0
    assert json.loads((folder / "fit.json").read_text())["asked"]["seconds"] == 3 * 3600


def test_how_it_learns_is_what_was_given_and_so_is_what_is_kept(
    coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_steps(monkeypatch)
    folder = tmp_path / "fitted"
    given = ["--training::learning_rate", "0.0005", "--training::average_decay", "0.5"]
    words = [*WORDS, *given, "--keep_largest", "true", "--amp", "false"]
    assert main(["fit", str(coarse_dataset), str(folder), *words]) == 0
    runs = folder / "runs" / "attention_unet"
    for fold in (0, 1):
        ran = json.loads((runs / f"fold_{fold}" / "settings.json").read_text())["settings"]
        assert (ran["learning_rate"], ran["average_decay"], ran["amp"]) == (0.0005, 0.5, False)
        assert ran["epochs"] * ran["iterations_per_epoch"] == 3
    plan = json.loads((folder / "configs" / "metadata.json").read_text())["plan"]
    assert plan["keep_largest"] is True


def test_a_folder_with_other_files_is_refused(
    coarse_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.docx").write_text("years")
    assert main(["fit", str(coarse_dataset), str(tmp_path), *WORDS]) == 1
    assert "holds no fit" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_an_ensemble_is_not_trained_further(
    fitted: Path, coarse_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(fitted), str(coarse_dataset), str(tmp_path / "more")]) == 1
    assert "ensemble" in capsys.readouterr().err


def test_the_plan_of_another_fit_gives_its_weights_again(
    fitted: Path,
    coarse_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fitting, "plan_bundle", None)
    plan = str(fitted / "runs" / "attention_unet" / "bundle")
    words = ["fit", str(coarse_dataset), str(tmp_path / "again"), "--plans", plan]
    lengths = ["--folds", "2", "--iterations", "3"]
    assert main([*words, *lengths]) == 0
    ours, theirs = load_checkpoint(tmp_path / "again"), load_checkpoint(fitted)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())

    def said(*more: str) -> str:
        assert main([*words[:2], str(tmp_path / "other"), *more, *lengths]) == 1
        return " ".join(capsys.readouterr().err.split())

    assert "--roi_size to gridgate plan" in said("--plans", plan, "--roi_size", "[32, 16, 16]")
    assert "both plans of attention_unet" in said("--plans", plan, plan)
    assert "no such bundle" in said("--plans", str(fitted / "docs"))
    assert "tells no pace" in said("--plans", "phantom_attention_unet")
    assert not (tmp_path / "other").exists()


def test_a_deterministic_fit_is_measured_by_pytorch_alone(
    coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which engine is the fastest is measured: two runs may find another, and other voxels."""
    asked: list[dict[str, Any]] = []

    def evaluate(*words: Any) -> None:
        asked.append(words[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "evaluate", evaluate)
    for more, engine in ((["--deterministic"], "torch"), ([], None)):
        words = ["fit", str(coarse_dataset), str(tmp_path / f"fit{len(more)}"), *WORDS, *more]
        assert main(words) != 0
        assert asked[-1].get("engine") == engine


def test_of_two_networks_the_best_or_both_are_taken(coarse_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fitted"
    words = ["--networks", "attention_unet", "unet", *WORDS]
    assert main(["fit", str(coarse_dataset), str(folder), *words]) == 0
    tried = {path.name for path in (folder / "runs").iterdir()}
    assert tried == {"attention_unet", "unet", "attention_unet+unet"}
    page = (folder / "docs" / "README.md").read_text()
    said = re.findall(r"^(\S+): mean Dice ([\d.]+)\.$", page, re.MULTILINE)
    assert {name for name, _ in said} == tried
    best = max(float(dice) for _, dice in said)
    shown = re.search(r"^\| mean \| ([\d.]+) \|", page, re.MULTILINE)
    assert shown is not None and float(shown[1]) == pytest.approx(best, abs=6e-4)
    members = {key.split(".")[1] for key in load_checkpoint(folder)}
    winners = [name for name, dice in said if float(dice) == best]
    assert len(members) in {4 if "+" in name else 2 for name in winners}


def test_cases_that_had_part_in_the_bundle_are_no_validation(
    fitted: Path, coarse_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(fitted), str(coarse_dataset), str(tmp_path / "out"), "--folds", "2"]
    assert main(words) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "validation cases were trained on" in said and "cross_validation" in said


def test_a_dataset_that_has_changed_is_another_fit(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_phantom_dataset(tmp_path / "phantom", cases=4, progress=False)
    asked = json.loads((fitted / "fit.json").read_text())["asked"]
    (tmp_path / "fitted").mkdir()
    steps = {"plan network": {"seconds": 1.0, "done": False, "facts": {}}}
    content = {"format": 1, "asked": asked | {"dataset": str(dataset)}, "steps": steps}
    (tmp_path / "fitted" / "fit.json").write_text(json.dumps(content))
    assert main(["fit", str(dataset), str(tmp_path / "fitted"), *WORDS]) == 1
    assert "cases, files or folds are others" in capsys.readouterr().err


def test_folds_that_validate_a_case_twice_are_refused_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_phantom_dataset(tmp_path / "phantom", cases=4, progress=False)
    ids = [case.id for case in load_dataset(dataset).cases]
    fold = {"train": ids[2:], "validation": ids[:2]}
    (dataset / "splits.json").write_text(json.dumps([fold, fold]))
    folder = tmp_path / "fitted"
    assert main(["fit", str(dataset), str(folder), *WORDS]) == 1
    assert f"validate {min(ids[:2])} in two" in capsys.readouterr().err
    assert not folder.exists()


def test_chosen_thresholds_of_regions_stand_in_the_bundle(
    coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while choosing, too; a case's mask is what its fold gives with the choices.

    What is chosen is set here: networks of three iterations say nothing.
    """
    wanted = {"belly": 0.4, "kidneys": 0.6}
    choice = property(lambda self: wanted[self.label])
    monkeypatch.setattr(ThresholdChoice, "threshold", choice)
    dataset = tmp_path / "D"
    shutil.copytree(coarse_dataset, dataset)
    content = json.loads((dataset / "dataset.json").read_text())
    content["labels"] = {"background": 0, "belly": [1, 2, 3, 4, 5, 6], "kidneys": [3, 4]}
    content["regions_class_order"] = [1, 2]
    (dataset / "dataset.json").write_text(json.dumps(content))
    folder = tmp_path / "fitted"
    words = ["fit", str(dataset), str(folder), *WORDS]
    monkeypatch.setattr(outcome, "fit_page", no_page)
    with monkeypatch.context() as patch:
        patch.setattr(outcome, "write_combined", None)
        with pytest.raises(TypeError):
            main(words)
    run = folder / "runs" / "attention_unet"
    assert len(list(run.glob("fold_*_cases/levels/*/*.nii.gz"))) == 8
    assert main(words) == 0
    assert not list(run.glob("fold_*_cases/levels"))
    plan = json.loads((folder / "configs" / "metadata.json").read_text())["plan"]
    assert plan["thresholds"] == [0.4, 0.6]
    page = (folder / "docs" / "README.md").read_text()
    assert "| thresholds | belly 0.4, kidneys 0.6 |" in page
    assert "- belly: threshold 0.4 (mean Dice" in page and "- kidneys: " in page
    measured = json.loads((run / "fold_0" / "splits.json").read_text())[0]["validation"]
    out = tmp_path / "mask.nii.gz"
    scan = dataset / "imagesTr" / f"{measured[0]}.nii.gz"
    told = ["--thresholds", "[0.4, 0.6]", "--keep_largest", json.dumps(plan["keep_largest"])]
    assert main(["infer", str(run / "fold_0"), str(scan), str(out), *told]) == 0
    kept = folder / "cross_validation" / out.with_name(scan.name).name
    np.testing.assert_array_equal(
        np.asarray(nib.load(out).dataobj),  # type: ignore[attr-defined]
        np.asarray(nib.load(kept).dataobj),  # type: ignore[attr-defined]
    )
