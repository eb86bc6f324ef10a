"""From each source in its own layout to a bundle that was trained for five steps, by commands."""

import hashlib
import json
import tarfile
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from monai.bundle import run

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.images.formats.itk import kept_locale
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.models.checkpoints import load_checkpoint
from gridgate.pipeline.plans.new_bundle import new_bundle

BUNDLES = Path(__file__).parents[4] / "bundles"
CASES = 4
SPACING = (8.0, 8.0, 10.0)
SETTINGS = {
    "architecture": {"name": "unet", "filters": [2, 4, 4, 4, 4]},
    "spacing": [12.0, 12.0, 12.0],
    "roi_size": [16, 16, 16],
    "amp": False,
    "device": "cpu",
    "epochs": 1,
    "iterations_per_epoch": 5,
    "batch_size": 2,
    "num_workers": 0,
    "warmup_iterations": 2,
    "folds": 2,
    "seed": 0,
}


def scan(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A CT in HU with two organs of soft tissue in front of a spine, y to the back (LPS)."""
    ct = np.random.default_rng(seed).normal(-1000, 5, (32, 30, 24)).astype(np.int16)
    ct[3:29, 4:26] = -90
    ct[14:18, 20:24] = 600
    labels = np.zeros(ct.shape, np.uint8)
    labels[6:15, 7:13, 4 : 12 + seed] = 1
    labels[18:26, 8:12, 8:15] = 2
    ct[labels == 1], ct[labels == 2] = 100, 60
    return ct, labels


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1])
    nib.save(nib.Nifti1Image(array, affine), path)


def decathlon(folder: Path, channel: str = "") -> Path:
    for number in range(CASES):
        ct, labels = scan(number)
        save(folder / f"imagesTr/c_{number}{channel}.nii.gz", ct)
        save(folder / f"labelsTr/c_{number}.nii.gz", labels)
    return folder


def listed(folder: Path) -> None:
    content = {
        "name": "T",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "spleen"},
        "numTraining": CASES,
        "training": [
            {"image": f"./imagesTr/c_{one}.nii.gz", "label": f"./labelsTr/c_{one}.nii.gz"}
            for one in range(CASES)
        ],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def msd(folder: Path) -> list[str]:
    """The archive, served from this machine."""
    listed(decathlon(folder / "Task09_Spleen"))
    served = folder / "served"
    served.mkdir()
    path = served / "Task09_Spleen.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "Task09_Spleen", "Task09_Spleen")
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    return ["msd:Task09_Spleen", "--base_address", address, "--checksum", md5]


def own_tar(folder: Path) -> list[str]:
    listed(decathlon(folder / "Task99_Mine"))
    with tarfile.open(folder / "mine.tar.gz", "w:gz") as archive:
        archive.add(folder / "Task99_Mine", "Task99_Mine")
    return [str(folder / "mine.tar.gz")]


def nnunet_1(folder: Path) -> list[str]:
    listed(decathlon(folder / "Task501_X", "_0000"))
    return [str(folder / "Task501_X")]


def nnunet_2(folder: Path) -> list[str]:
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "spleen": 2},
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    (decathlon(folder, "_0000") / "dataset.json").write_text(json.dumps(content))
    return [str(folder)]


def plain_folder(folder: Path) -> list[str]:
    for number in range(CASES):
        ct, labels = scan(number)
        save(folder / f"img/Käse {number}.1 CT.nii.gz", ct)
        save(folder / f"seg/Käse {number}.1 RTSS.nii.gz", labels)
    return [str(folder), "--yes", "--label_names", "{liver: 1, spleen: 2}"]


def btcv(folder: Path) -> list[str]:
    for number in range(1, CASES + 1):
        ct, labels = scan(number)
        save(folder / f"RawData/Training/img/img{number:04d}.nii.gz", ct)
        save(folder / f"RawData/Training/label/label{number:04d}.nii.gz", labels)
    return [str(folder)]


def totalsegmentator(folder: Path) -> list[str]:
    for number in range(CASES):
        ct, labels = scan(number)
        save(folder / f"s{number:04d}/ct.nii.gz", ct)
        for value, name in enumerate(("liver", "spleen"), start=1):
            mask = (labels == value).astype(np.uint8)
            save(folder / f"s{number:04d}/segmentations/{name}.nii.gz", mask)
        save(folder / f"s{number:04d}/segmentations/heart.nii.gz", mask * 0)
    return [str(folder), "--classes", "[liver, spleen]"]


def pancreas_ct(folder: Path) -> list[str]:
    for number in range(1, CASES + 1):
        ct, labels = scan(number)
        write_series(folder / f"Pancreas-CT/PANCREAS_{number:04d}/1/2", ct, number)
        path = folder / f"labels/label{number:04d}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        label = np.flip((labels == 1).astype(np.uint8), 1)
        nib.save(nib.Nifti1Image(label, np.eye(4)), path)
    return [str(folder)]


def write_series(folder: Path, ct: np.ndarray, number: int) -> None:
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(ct.shape[2]):
        image = sitk.GetImageFromArray(ct[:, :, index].T)
        image.SetSpacing(SPACING[:2])
        uid = f"1.2.826.0.1.3680043.2.1125.{number}"
        for tag, value in {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.1.{index + 1}",
            "0008|0060": "CT",
            "0020|000d": f"{uid}.2",
            "0020|000e": f"{uid}.3",
            "0020|0052": f"{uid}.4",
            "0020|0013": str(index + 1),
            "0020|0032": f"0\\0\\{SPACING[2] * index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": str(SPACING[2]),
            "0028|1052": "0",
            "0028|1053": "1",
        }.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{index:03d}.dcm"))
        with kept_locale():  # GDCM leaves it at "C"
            writer.Execute(image)


@pytest.mark.parametrize(
    "make",
    [msd, own_tar, nnunet_1, nnunet_2, plain_folder, btcv, totalsegmentator, pancreas_ct],
    ids=lambda make: make.__name__,
)
def test_from_a_source_to_a_bundle_of_five_steps(
    make: Callable[[Path], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "in").mkdir()
    source, *options = make(tmp_path / "in")
    assert main(["import", source, str(tmp_path / "D"), *options]) == 0
    dataset = load_dataset(tmp_path / "D")
    assert len(dataset.cases) == CASES
    plan = yaml.safe_load((BUNDLES / "datasets/phantom.yaml").read_text())
    plan |= {"labels": list(dataset.labels), "expected": {}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(plan))
    bundle = new_bundle("unet", str(tmp_path / "mine.yaml"), tmp_path / "bundle")
    settings = {**SETTINGS, "dataset_dir": str(tmp_path / "D"), "output_dir": str(tmp_path / "O")}
    run("training", config_file=str(bundle / "configs/train.yaml"), **settings)
    assert load_checkpoint(tmp_path / "O/models/model.pt")
    rows = (tmp_path / "O/metrics_train.csv").read_text().splitlines()
    assert rows[-1].split(",")[rows[0].split(",").index("iteration")] == "5"
