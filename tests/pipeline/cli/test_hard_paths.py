"""Training, inference and evaluation in folders whose names MONAI's parser would take for code."""

import json
import sys
from pathlib import Path

import nibabel as nib
import pytest

from gridgate.data.phantom.phantom import PHANTOM_LABELS
from gridgate.pipeline.cli.main import main

SMALL = {
    "architecture::filters": "[2, 2, 4, 4, 4]",
    "spacing": "[10, 10, 10]",
    "roi_size": "[32, 32, 32]",
    "amp": "False",
    "epochs": "1",
    "iterations_per_epoch": "1",
    "batch_size": "1",
    "num_workers": "0",
    "warmup_iterations": "0",
}


@pytest.mark.slow
def test_a_bundle_from_training_to_masks_in_hard_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run #1, $a::b"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    data, trained, masks, scores = "%data#1", "$out#1", "@masks::1, b", "#scores"
    assert main(["phantom", data, "--cases", "2"]) == 0
    words = [word for name, text in SMALL.items() for word in (f"--{name}", text)]
    few = ["--folds", "2", "--device", "cpu"]
    capsys.readouterr()
    assert main(["train", "--json-log", *few, "phantom_attention_unet", data, *words, trained]) == 0
    told = capsys.readouterr()
    assert told.err == "", "nothing of MONAI's or Ignite's"
    events = [json.loads(line) for line in told.out.splitlines()]
    said = [one["message"] for one in events if one["event"] == "info"]
    assert all("in memory" in text or "report.html" in text for text in said)
    start, epoch, ended, end = [one for one in events if one["event"] != "info"]
    assert [one["event"] for one in (start, epoch, ended, end)] == [
        "start",
        "epoch",
        "trained",
        "end",
    ]
    keys = {"time", "event", "epoch", "iteration", "seconds", "loss", "learning_rate", "dice_mean"}
    assert set(epoch) == keys | {"dice", "best_epoch", "best_dice"}
    assert set(epoch["dice"]) == set(PHANTOM_LABELS) - {"background"}
    assert (ended["epoch"], ended["iteration"], ended["output"]) == (1, 1, trained)
    assert Path(trained, "models", "model.pt").is_file()

    # what was trained is a bundle: its spacing and its weights need no words
    scans = f"{data}/imagesTr"
    here = ["--device", "cpu", "--isolate", "False"]
    assert main(["infer", "--body_threshold", "null", trained, scans, masks, *here]) == 0
    written = sorted(Path(masks).glob("*.nii.gz"))
    assert [path.name for path in written] == ["phantom_000.nii.gz", "phantom_001.nii.gz"]
    scan = nib.load(Path(scans, written[0].name))
    assert nib.load(written[0]).shape == scan.shape
    capsys.readouterr()
    assert main(["evaluate", trained, data, scores, *few, "--checkpoint", trained]) == 0
    assert capsys.readouterr().out.startswith(f"{scores}: 1 cases measured")
    assert Path(scores, "summary.json").is_file()
    ours = {data, trained, masks, scores}
    assert {path.name for path in folder.iterdir()} == ours

    capsys.readouterr()
    assert main(["infer", trained, "not#there", masks, *here]) == 1
    assert "not#there" in capsys.readouterr().err.splitlines()[-1]
    assert main(["infer", trained, scans, masks, *here, "--checkpoint", "$no#pt"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: $no#pt: there is no such")
