"""Trainings as MONAI Label starts them: lists of cases, no dataset, weights in the bundle."""

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import run

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.errors import DatasetError, OutputError
from gridgate.pipeline.models.checkpoints import load_checkpoint

SMALL: dict[str, Any] = {
    "architecture": {"name": "unet", "filters": [2, 4, 4, 4, 4]},
    "spacing": [12.0, 12.0, 12.0],
    "roi_size": [16, 16, 16],
    "amp": False,
    "device": "cpu",
    "iterations_per_epoch": 2,
    "batch_size": 2,
    "num_workers": 0,
    "train#trainer#max_epochs": 2,
}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    server = tmp_path / "server"
    server.mkdir()
    monkeypatch.chdir(server)
    source = Path(__file__).parents[4] / "bundles" / "phantom_attention_unet"
    untrained = shutil.ignore_patterns("models")
    return Path(shutil.copytree(source, tmp_path / "bundle", ignore=untrained))


def cases(dataset: Path, *numbers: int) -> list[dict[str, str]]:
    found = [load_dataset(dataset).cases[number] for number in numbers]
    return [{"image": str(case.images[0]), "label": str(case.label)} for case in found]


def train(bundle: Path, given: list[dict[str, str]], **more: Any) -> None:
    settings = {
        **SMALL,
        "bundle_root": str(bundle),
        "train#dataset#data": given,
        "validate#dataset#data": [],
        **more,
    }
    run("run", config_file=str(bundle / "configs" / "train.json"), **settings)


def weights(bundle: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(bundle / "models" / "model.pt")


def test_weights_land_in_the_bundle_and_each_round_replaces_the_last(
    bundle: Path, phantom_dataset: Path
) -> None:
    train(bundle, cases(phantom_dataset, 0))
    first = weights(bundle)
    rows = (bundle / "metrics_train.csv").read_text()
    train(bundle, cases(phantom_dataset, 0, 1), seed=1)
    second = weights(bundle)
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert len((bundle / "metrics_train.csv").read_text().splitlines()) == len(rows.splitlines())
    assert list(Path.cwd().iterdir()) == []  # nothing in the server's folder
    assert not list(bundle.glob("before_*"))  # Gridgate's own rounds are replaced
    assert load_checkpoint(bundle / "last.pt")["epoch"] == 2  # max_epochs, the schedule's too
    (_, *dice) = [line.split(",")[5] for line in rows.splitlines()]
    assert dice and "nan" not in dice  # with none to validate on, the training's own are taken


def test_weights_of_others_are_kept(bundle: Path, phantom_dataset: Path) -> None:
    (bundle / "models").mkdir()
    for content in (b"somebody's", b"and again"):
        (bundle / "models" / "model.pt").write_bytes(content)
        train(bundle, cases(phantom_dataset, 0))
    kept = sorted(bundle.glob("before_fine_tuning*/models/model.pt"))
    assert [path.read_bytes() for path in kept] == [b"somebody's", b"and again"]


def test_elsewhere_a_strangers_weights_end_the_run(
    bundle: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "models" / "model.pt"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"somebody's")
    with pytest.raises(Exception) as raised:  # MONAI's, of ours
        train(bundle, cases(phantom_dataset, 0), output_dir=str(tmp_path / "other"))
    assert isinstance(cause(raised.value), OutputError)
    assert other.read_bytes() == b"somebody's"


def test_values_that_no_label_has_are_named(
    bundle: Path, phantom_dataset: Path, tmp_path: Path
) -> None:
    (case,) = cases(phantom_dataset, 0)
    label = nib.load(case["label"])
    values = np.asarray(label.dataobj).copy()
    values[:2, 0, 0] = 99
    nib.save(nib.Nifti1Image(values, label.affine), tmp_path / "odd.nii.gz")
    with pytest.raises(Exception) as raised:  # MONAI's, of ours
        train(bundle, [{**case, "label": str(tmp_path / "odd.nii.gz")}])
    error = cause(raised.value)
    assert isinstance(error, DatasetError)
    assert "odd.nii.gz" in str(error) and f"99 (2 of {values.size} voxels)" in str(error)
    assert not (bundle / "models").exists()


def test_no_case_at_all_is_an_error(bundle: Path) -> None:
    with pytest.raises(Exception) as raised:  # MONAI's, of ours
        train(bundle, [])
    assert isinstance(cause(raised.value), DatasetError)


def cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
