"""Imported models against nnU-Net's own predictor on the same weights.

The environment lies in .interop/nnunet at the repository's root; `make interop` makes it. nnU-Net
makes the models, with random weights, whose labels change from voxel to voxel, or with some minutes
of training, and predicts; `gridgate` imports them and predicts in this environment, which is lent
the package of the networks alone. nnU-Net sums logits in float16: told to sum in float32, as we do,
it gives our masks; as it is, labels differ where scores tie within that rounding.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from gridgate.data.phantom.dataset import write_phantom_dataset

ROOT = Path(__file__).resolve().parents[2]
INSIDE = Path(__file__).with_name("inside")
PYTHON = ROOT / ".interop/nnunet/bin/python"
HIPPOCAMPUS = ROOT.parent / "shared/data/msd_hippocampus"
PACKAGE = "dynamic_network_architectures"
TWO = {"background": 0, "a": 1, "b": 2}
MR = {"schemes": ["ZScoreNormalization"], "channels": {"0": "MRI"}}
SMALL = {"patch": [16, 32, 32], "spacing": [4, 4, 4], "labels": TWO}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.is_file(), reason="no environment .interop/nnunet: run `make interop`"
    ),
]

CASES: dict[str, dict[str, Any]] = {
    "plain": {**SMALL},
    "mirrored and transposed": {**SMALL, "mirror": [0, 1, 2], "transpose": [1, 2, 0]},
    "long voxels of the network": {**SMALL, "spacing": [8, 2.2, 2.2], "mirror": [0, 1]},
    "long voxels of the scan": {**SMALL, "scan": "long", "spacing": [3, 3, 3], "mirror": [2]},
    "regions of two folds": {
        **SMALL,
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "folds": 2,
        "network": "ResidualEncoderUNet",
    },
    "turned by its reader": {**SMALL, "reader": "NibabelIOWithReorient", "folds": 2},
    "MR, z-score where it is not 0": {**SMALL, **MR, "scan": "brain", "masked": [True]},
    "MR, smaller than a window": {**SMALL, **MR, "scan": "brain", "patch": [48, 64, 64]},
    "two channels": {
        **SMALL,
        "scan": "brain",
        "images": 2,
        "schemes": ["ZScoreNormalization", "NoNormalization"],
        "masked": [True, False],
        "channels": {"0": "T1", "1": "noNorm"},
    },
}


def inside(script: str, **arguments: Any) -> Any:
    ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    done = subprocess.run(
        [str(PYTHON), "-W", "ignore", str(INSIDE / script), json.dumps(arguments)],
        env={name: value for name, value in os.environ.items() if name not in ours},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def gridgate(lent: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gridgate", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(lent)])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of nnU-Net's networks, and nothing else of its environment."""
    folder = tmp_path_factory.mktemp("lent")
    (package,) = (ROOT / ".interop/nnunet/lib").glob(f"python3*/site-packages/{PACKAGE}")
    (folder / PACKAGE).symlink_to(package)
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """A CT stored as LPS; one of long oblique voxels; a brain-like MR in a border of zeros."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(size=(48, 40, 36)), 1.5)
    ct = (noise / noise.std() * 250).round().astype(np.int16)
    affine = np.diag([-4.6, -4.6, 3.0, 1])
    angle = np.deg2rad(12)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in ct.shape), indexing="ij")
    head = sum((axis / size) ** 2 for axis, size in zip(axes, (0.7, 0.6, 0.5), strict=True)) < 1
    brain = np.where(head, ct + 2000, 0).astype(np.int16)
    brain[22:25, 20:23, 18:20] = 0
    volumes = {
        "ct": (ct, affine),
        "long": (ct[:20], turn @ np.diag([13.875, 2.3125, 1.8, 1])),
        "brain_0": (brain, affine),
        "brain_1": ((brain * 0.5 + head * 30).astype(np.float32), affine),
    }
    for name, (array, place) in volumes.items():
        nib.save(nib.Nifti1Image(array, place), folder / f"{name}.nii.gz")
    files = {name: str(folder / f"{name}.nii.gz") for name in volumes}
    return {
        "ct": [files["ct"]],
        "long": [files["long"]],
        "brain": [files["brain_0"], files["brain_1"]],
    }


def masks(
    model: str, images: list[str], lent: Path, folder: Path, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """nnU-Net's mask, and ours."""
    theirs = folder / "theirs.nii.gz"
    inside("nnunet_predict.py", model=model, images=[images], masks=[str(theirs)], **options)
    if not (folder / "bundle").exists():
        gridgate(lent, "import-model", model, str(folder / "bundle"))
        (folder / "in").mkdir()
        for number, file in enumerate(images):
            (folder / "in" / f"case_{number:04d}.nii.gz").symlink_to(file)
        run = [str(folder / "in"), str(folder / "M"), "--device", "cpu"]
        gridgate(lent, "infer", str(folder / "bundle"), *run)
    (ours,) = (folder / "M").glob("*.nii.gz")
    first, second = nib.load(theirs), nib.load(ours)
    np.testing.assert_allclose(first.affine, second.affine, atol=1e-4)
    return np.asarray(first.dataobj), np.asarray(second.dataobj)


def dice(first: np.ndarray, second: np.ndarray) -> dict[int, float]:
    found = {}
    for label in np.union1d(np.unique(first), np.unique(second)):
        a, b = first == label, second == label
        found[int(label)] = 2 * float((a & b).sum()) / float(a.sum() + b.sum())
    return found


@pytest.mark.parametrize("name", list(CASES))
def test_random_weights(name: str, scans: dict[str, list[str]], lent: Path, tmp_path: Path) -> None:
    told = dict(CASES[name])
    images = scans[told.pop("scan", "ct")][: told.pop("images", 1)]
    model = inside("nnunet_make.py", folder=str(tmp_path / "results"), **told)
    theirs, ours = masks(model, images, lent, tmp_path, float32=True)
    assert len(np.unique(theirs)) == 3
    assert (theirs != ours).mean() < 2e-5  # two orders of the same sums
    theirs, ours = masks(model, images, lent, tmp_path)
    assert (theirs == ours).mean() > 0.998


def test_a_trained_model(lent: Path, tmp_path: Path) -> None:
    if not HIPPOCAMPUS.is_dir():
        pytest.skip(f"{HIPPOCAMPUS} is not there")
    images = sorted(str(path) for path in (HIPPOCAMPUS / "imagesTr").glob("*.nii.gz"))[:13]
    labels = [image.replace("imagesTr", "labelsTr") for image in images]
    model = inside(
        "nnunet_make.py",
        folder=str(tmp_path / "results"),
        **{**MR, "patch": [24, 40, 32], "spacing": [1.2, 0.9, 0.9], "mirror": [0, 1, 2]},
        labels={"background": 0, "Anterior": 1, "Posterior": 2},
        train={"images": images[1:], "labels": labels[1:], "steps": 600},
    )
    theirs, ours = masks(model, images[:1], lent, tmp_path)
    assert len(np.unique(theirs)) == 3
    assert (theirs == ours).mean() >= 0.999
    assert min(dice(theirs, ours).values()) >= 0.999


def test_a_merged_mask_is_made_of_nnunets_own(lent: Path, tmp_path: Path) -> None:
    dataset = write_phantom_dataset(tmp_path / "phantom", cases=1, progress=False)
    scan = str(next((dataset / "imagesTr").glob("*.nii.gz")))
    parts: list[dict[str, Any]] = [
        {**SMALL, "spacing": [8, 8, 8], "labels": {"background": 0, "liver": 1, "spleen": 2}},
        {
            **SMALL,
            "patch": [24, 32, 32],
            "spacing": [9, 8, 8],
            "labels": {"background": 0, "left": 1, "right": 2},
            "seed": 5,
            "folds": 2,
        },
    ]
    values = {"right": 1, "spleen": 2, "left": 3, "liver": 4}
    (tmp_path / "names.json").write_text(json.dumps(values))
    models, whole = [], None
    for number, told in enumerate(parts):
        model = inside("nnunet_make.py", folder=str(tmp_path / f"results_{number}"), **told)
        mask = str(tmp_path / f"part_{number}.nii.gz")
        inside("nnunet_predict.py", model=model, images=[[scan]], masks=[mask], float32=True)
        names = sorted(told["labels"], key=told["labels"].get)
        table = np.array([0, *(values[name] for name in names[1:])])
        found = table[np.asarray(nib.load(mask).dataobj)]
        whole = found if whole is None else np.where(found > 0, found, whole)
        models.append(model)
    bundle, ours = str(tmp_path / "bundle"), str(tmp_path / "ours.nii.gz")
    gridgate(lent, "import-model", *models, bundle, "--labels", str(tmp_path / "names.json"))
    gridgate(lent, "infer", bundle, scan, ours, "--device", "cpu")
    assert whole is not None
    assert (np.asarray(nib.load(ours).dataobj) != whole).mean() < 2e-5
