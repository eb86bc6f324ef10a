"""A mask's file as output: that file and no other, or nothing."""

import gzip
import os
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.cli.one_mask import mask_ending

pytestmark = pytest.mark.usefixtures("elsewhere")
BUNDLE = "phantom_attention_unet"
SETTINGS = [
    *("--load_pretrain", "False", "--device", "cpu", "--amp", "False", "--isolate", "False"),
    *("--architecture::filters", "[2, 2, 2, 2, 2]", "--spacing", "null"),
    *("--roi_size", "[32, 32, 32]", "--keep_largest", "False", "--body_threshold", "null"),
]


def scan(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(-200, 300, (17, 16, 18)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 3.0, 4.0, 1.0])), path)
    return path


def infer(*words: str) -> int:
    torch.manual_seed(0)  # untrained weights, the same in each run
    return main(["infer", BUNDLE, *words, *SETTINGS])


def test_the_mask_is_that_of_a_folder_and_nothing_else_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    scan(tmp_path / "ct.nii.gz")
    assert infer("ct.nii.gz", "masks") == 0
    assert infer("-i", "ct.nii.gz", "-o", "new/mask.nii.gz") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "new/mask.nii.gz"
    assert os.listdir("new") == ["mask.nii.gz"] and os.listdir("tmp") == []
    one, same = nib.load("new/mask.nii.gz"), nib.load("masks/ct.nii.gz")
    np.testing.assert_array_equal(one.get_fdata(), same.get_fdata())
    np.testing.assert_array_equal(one.affine, same.affine)
    assert one.get_data_dtype() == np.uint8 and len(np.unique(one.get_fdata())) > 1


def test_one_scan_is_not_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also within a job array, which is over scans then."""
    for name, number in (("ID", 3), ("COUNT", 4), ("MIN", 1), ("MAX", 4)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(number))
    scan(tmp_path / "ct.nii.gz")
    assert infer("ct.nii.gz", "mask.nii.gz", "--shard", "1/2") == 1
    assert "--shard 1/2: one scan is not shared out" in capsys.readouterr().err
    assert infer("ct.nii.gz", "mask.nii.gz") == 0 and Path("mask.nii.gz").is_file()
    assert infer("ct.nii.gz", "masks") == 0 and Path("masks/ct.nii.gz").is_file()
    assert "shard" not in capsys.readouterr().err


def test_a_file_that_is_there_is_replaced_only_when_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan(tmp_path / "ct.nii.gz")
    (tmp_path / "mine.nii.gz").write_text("mine")
    assert infer("ct.nii.gz", "mine.nii.gz") == 1
    assert "mine.nii.gz is there already; --overwrite True" in capsys.readouterr().err
    assert (tmp_path / "mine.nii.gz").read_text() == "mine"
    assert infer("ct.nii.gz", "mine.nii.gz", "--overwrite", "True") == 0
    assert nib.load("mine.nii.gz").shape == (17, 16, 18)
    before = (tmp_path / "ct.nii.gz").read_bytes()
    assert infer("ct.nii.gz", "./ct.nii.gz", "--overwrite", "True") == 1
    assert "overwrite" in capsys.readouterr().err
    assert (tmp_path / "ct.nii.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["scans", "mask.nii.gz"], "mask.nii.gz is one file, and there are 2 scans (a, b, ...)"),
        (["scans/a.nii.gz", "m.nii.gz", "--dicom_seg", "True"], "--dicom_seg writes files beside"),
        (["scans/a.nii.gz", "m.nii.gz", "--probabilities", "[liver]"], "--probabilities writes"),
        (["scans/a.nii.gz", "m.nii.gz", "--region_masks", "true"], "--region_masks writes files"),
        (["scans/a.nii.gz", "m.mgz"], "m.mgz: masks are written as .nii.gz"),
        (["scans/a.nii.gz", "m.dcm"], "m.dcm: masks are written as .nii.gz"),
        (["nothing.nii.gz", "m.nii.gz"], "nothing.nii.gz: there is no such file"),
    ],
)
def test_what_cannot_be_one_mask_is_told_before_anything_is_computed(
    words: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan(tmp_path / "scans" / "a.nii.gz")
    scan(tmp_path / "scans" / "b.nii.gz")

    def never(*_: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr("gridgate.pipeline.batch.processor.CaseProcessor.prepare", never)
    assert infer(*words) == 1
    assert told in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == ["scans"]


def test_a_scan_that_fails_leaves_nothing_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(b"no image"))
    assert infer("ct.nii.gz", "mask.nii.gz") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ct: ") and "cases.csv" not in last
    assert os.listdir(tmp_path) == ["ct.nii.gz"]


def test_endings(tmp_path: Path) -> None:
    found = {name: mask_ending(name) for name in ("a/M.NII.GZ", "m.seg.nrrd", "m.nrrd", "m.mha")}
    assert list(found.values()) == [".nii.gz", ".seg.nrrd", ".nrrd", ".mha"]
    assert mask_ending("masks") is mask_ending("masks.v1") is None
    (tmp_path / "old.nii.gz").mkdir()
    assert mask_ending("old.nii.gz") is None, "a folder of that name is a folder"
    for name in ("m.gipl", ".nii.gz"):
        with pytest.raises(ConfigError, match="masks are written as"):
            mask_ending(name)
