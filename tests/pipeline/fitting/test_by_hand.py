"""`gridgate combine`: folds that were trained and evaluated by hand, held against a fit of them."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from gridgate.data.datasets.dataset import load_dataset
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.models.checkpoints import load_checkpoint


def of_folds(fitted: Path, name: str) -> list[str]:
    return [str(fitted / "runs" / "attention_unet" / name.format(fold)) for fold in (0, 1)]


def combine(dataset: Path, output: Path, trainings: list[str], evaluations: list[str]) -> int:
    words = ["--trainings", *trainings, "--evaluations", *evaluations]
    return main(["combine", str(dataset), str(output), *words])


def test_it_makes_what_a_fit_makes(fitted: Path, coarse_dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "combined"
    trainings = of_folds(fitted, "fold_{}")
    chosen = tmp_path / "chosen"
    shutil.copytree(trainings[0], chosen)  # as if the best validation had been kept
    settings = (chosen / "settings.json").read_text()
    (chosen / "settings.json").write_text(settings.replace('"keep": "last"', '"keep": "best"'))
    table = chosen / "metrics_train.csv"  # and the last epoch had no validation
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    evaluations = of_folds(fitted, "fold_{}_cases")[::-1]  # in any order
    assert combine(coarse_dataset, output, [str(chosen), trainings[1]], evaluations) == 0
    ours, theirs = load_checkpoint(output), load_checkpoint(fitted)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    for file in ("metrics.csv", "cases.csv"):
        lines = [
            sorted((folder / "cross_validation" / file).read_text().splitlines())
            for folder in (output, fitted)
        ]
        assert lines[0] == lines[1]
    plans = [
        json.loads((folder / "configs" / "metadata.json").read_text())["plan"]
        for folder in (output, fitted)
    ]
    assert plans[0]["keep_largest"] == plans[1]["keep_largest"]
    page = (output / "docs" / "README.md").read_text()
    assert "2 trainings of 3, 3 iterations" in page and "those of its best validation" in page
    assert "best validation" not in (fitted / "docs" / "README.md").read_text()
    assert "attention_unet, fold 2" in (output / "report.html").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chosen", "combined"]
    mask = output / "cross_validation" / "phantom_000.nii.gz"
    assert mask.is_file()  # a link, or a file; its target is found from here
    scan = str(load_dataset(coarse_dataset).cases[0].images[0])
    out = str(tmp_path / "mask.nii.gz")
    assert main(["infer", str(output), scan, out, "--isolate", "false"]) == 0


def test_what_does_not_belong_together_is_refused(
    fitted: Path, coarse_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings, evaluations = (of_folds(fitted, name) for name in ("fold_{}", "fold_{}_cases"))

    def said(trainings: list[str], evaluations: list[str]) -> str:
        assert combine(coarse_dataset, tmp_path / "out", trainings, evaluations) == 1
        assert not list(tmp_path.glob("*out*"))
        return " ".join(capsys.readouterr().err.split())

    assert "two or more different ones" in said(trainings[:1], evaluations[:1])
    assert "two or more different ones" in said(trainings[:1] * 2, evaluations)
    assert f"{trainings[1]}: none of --evaluations measures it" in said(trainings, evaluations[:1])
    assert "measure the same" in said(trainings, [*evaluations, evaluations[0]])
    assert "run the evaluation first" in said(trainings, trainings)

    def changed(name: str, value: object) -> list[str]:
        copy = tmp_path / "evaluation"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(evaluations[0], copy)
        summary = json.loads((copy / "summary.json").read_text())
        (copy / "summary.json").write_text(json.dumps(summary | {name: value}))
        return [str(copy), evaluations[1]]

    assert "other weights" in said(trainings, changed("checkpoint", "0" * 12))
    lost = said(trainings, changed("post_processing", ["LargestComponentd"]))
    assert "LargestComponentd" in lost and "--keep_largest false" in lost
    assert "does not tell whether" in said(trainings, changed("post_processing", None))
    assert "does not tell its overlap" in said(trainings, changed("settings", None))
    ran = json.loads(Path(evaluations[0], "summary.json").read_text())["settings"]
    others = {
        "overlap": 0.25,
        "blend": "constant",
        "padding": "replicate",
        "mirror_axes": [1],
        "side_pairs": [[1, 2]],
        "body_threshold": None,
        "region": "masks",
        "fit_region": True,
        "interpolate_probabilities": True,
        "thresholds": [0.4],
    }
    assert ran.keys() == others.keys()
    for name, value in others.items():
        other = said(trainings, changed("settings", ran | {name: value}))
        assert f"was run with --{name} {json.dumps(value)}" in other


def test_cases_that_a_training_has_seen_are_refused(
    fitted: Path, coarse_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings = of_folds(fitted, "fold_{}")
    told = ["--keep_largest", "false", "--part", "all", "--isolate", "false"]
    words = ["evaluate", trainings[0], str(coarse_dataset), str(tmp_path / "all"), *told]
    assert main(words) == 0
    with open(tmp_path / "all" / "cases.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    evaluations = [str(tmp_path / "all"), of_folds(fitted, "fold_{}_cases")[1]]
    assert combine(coarse_dataset, tmp_path / "out", trainings, evaluations) == 1
    assert "were trained on" in capsys.readouterr().err


def test_a_folder_that_exists_is_left_alone(
    fitted: Path, coarse_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings, evaluations = (of_folds(fitted, name) for name in ("fold_{}", "fold_{}_cases"))
    before = Path(trainings[0], "models", "model.pt").read_bytes()
    assert combine(coarse_dataset, Path(trainings[0]), trainings, evaluations) == 1
    assert "exists already" in capsys.readouterr().err
    assert Path(trainings[0], "models", "model.pt").read_bytes() == before
