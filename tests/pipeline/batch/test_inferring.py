"""Inference over a folder: nothing lost, nothing twice, one bad file stops nobody."""

import csv
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from gridgate.data.errors import CheckpointError, ConfigError, user_error
from gridgate.data.phantom.dataset import write_phantom_scans
from gridgate.networks import build
from gridgate.pipeline.batch.evaluator import CasesFailedError
from gridgate.transforms.restore.slabs import ScoreSlabs

from ..small_bundle import CONFIGS, NETWORK, infer
from .threshold import TABLES

ORGANS = ["liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta"]
GOOD = ["scan_1000", "scan_1001", "scan_1002"]


def weights(path: Path, *, seed: int) -> Path:
    torch.manual_seed(seed)
    plan = json.loads((CONFIGS / "metadata.json").read_text())["plan"]["network"]
    network = build(**plan, out_channels=7, filters=NETWORK["architecture::filters"])
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weights(tmp_path_factory.mktemp("model") / "model.pt", seed=0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three phantoms, one of them oblique, among files that cannot be segmented."""
    folder = write_phantom_scans(tmp_path_factory.mktemp("scans"), cases=3, broken=True)
    (folder / "empty.nii.gz").touch()
    (folder / "text.nii.gz").write_text("not an image")
    shutil.copy(folder / "scan_1000.nii.gz", folder / "not_a.nrrd")
    for name, array in {
        "nan": np.full((20, 20, 20), np.nan, np.float32),
        "series": np.zeros((9, 9, 9, 5)),
    }.items():
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii")
    return folder


def failing(scans: Path, output: Path, model: Path | None, **options: object) -> BaseException:
    with pytest.raises(Exception, match=r".") as caught:
        infer(
            scans,
            output,
            **({"load_pretrain": False} if model is None else {"checkpoint": str(model)}),
            **options,
        )
    error = user_error(caught.value)
    assert error is not None
    return error


def table(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "cases.csv", newline="", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert len({row["case"] for row in rows}) == len(rows)
    return {row["case"]: row for row in rows}


@pytest.fixture(scope="module")
def finished(scans: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    assert isinstance(failing(scans, folder, model), CasesFailedError)
    return folder


def test_every_file_has_a_row_and_each_reason_names_its_file(finished: Path, scans: Path) -> None:
    found = table(finished)
    assert {name for name, row in found.items() if row["status"] == "ok"} == set(GOOD)
    bad = {name: row for name, row in found.items() if row["status"] == "failed"}
    assert set(bad) == {"broken_scan", "empty", "text", "not_a", "nan", "series"}
    for name, row in bad.items():
        assert name in row["reason"] and "unexpected" not in row["reason"], row["reason"]
        assert row["output"] == ""
    assert sorted(path.name for path in finished.iterdir()) == sorted(
        [".gridgate", "cases.csv", *TABLES, *(f"{n}.nii.gz" for n in GOOD)]
    )


@pytest.mark.parametrize("name", GOOD)
def test_masks_lie_in_the_scans_own_grid(finished: Path, scans: Path, name: str) -> None:
    scan, mask = nib.load(scans / f"{name}.nii.gz"), nib.load(finished / f"{name}.nii.gz")
    assert mask.shape == scan.shape
    assert mask.get_data_dtype() == np.uint8
    for form in ("sform", "qform"):
        affine, code = getattr(scan, f"get_{form}")(coded=True)
        ours, our_code = getattr(mask, f"get_{form}")(coded=True)
        assert our_code == code
        np.testing.assert_array_equal(ours, affine)
    a, b = (
        sitk.ReadImage(str(scans / f"{name}.nii.gz")),
        sitk.ReadImage(str(finished / f"{name}.nii.gz")),
    )
    assert a.GetSize() == b.GetSize()
    for part in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(b, part)(), getattr(a, part)(), atol=1e-6)


def test_volumes_and_seconds_are_in_the_table(finished: Path) -> None:
    for name in GOOD:
        row = table(finished)[name]
        mask = nib.load(finished / f"{name}.nii.gz")
        voxels = np.asarray(mask.dataobj)
        for value, organ in enumerate(ORGANS, start=1):
            assert int(row[f"{organ}_voxels"]) == (voxels == value).sum()
            millilitres = (voxels == value).sum() * np.prod(mask.header.get_zooms()) / 1000
            assert float(row[f"{organ}_ml"]) == pytest.approx(millilitres, rel=1e-4, abs=1e-3)
        stages = [
            float(row[f"{stage}_s"])
            for stage in ("read", "resample", "forward", "restore", "write")
        ]
        assert min(stages) >= 0 and sum(stages) == pytest.approx(float(row["total_s"]), abs=0.01)


def test_started_again_it_only_tries_what_failed(
    finished: Path, scans: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "again"
    shutil.copytree(finished, folder)
    (
        folder / "scan_1001.nii.gz"
    ).unlink()  # as if killed between the row and the mask: it must come again
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}
    time.sleep(0.01)
    failing(scans, folder, model)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}
    assert {name for name in after if after[name] != before.get(name)} == {"scan_1001.nii.gz"}
    assert table(folder).keys() == table(finished).keys()


def test_a_torn_table_loses_no_case(
    finished: Path, scans: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "torn"
    shutil.copytree(finished, folder)
    text = (folder / "cases.csv").read_text()
    (folder / "cases.csv").write_text(text[: int(len(text) * 0.6)])
    failing(scans, folder, model)
    assert table(folder).keys() == table(finished).keys()


def test_other_weights_and_overwrite_run_everything_again(
    finished: Path, scans: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(finished, folder)
    failing(scans, folder, weights(tmp_path / "other.pt", seed=1))
    assert {row["checkpoint"] for row in table(folder).values()} != {
        row["checkpoint"] for row in table(finished).values()
    }
    before = (folder / "scan_1000.nii.gz").stat().st_mtime_ns
    failing(scans, folder, tmp_path / "other.pt", overwrite=True)
    assert (folder / "scan_1000.nii.gz").stat().st_mtime_ns != before


def test_a_missing_checkpoint_touches_nothing(finished: Path, scans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "same"
    shutil.copytree(finished, folder)
    before = (folder / "cases.csv").read_text()
    assert isinstance(failing(scans, folder, tmp_path / "nowhere.pt"), CheckpointError)
    assert (folder / "cases.csv").read_text() == before


def test_masks_never_go_into_the_folder_of_the_scans(scans: Path) -> None:
    before = {path.name: path.read_bytes() for path in scans.iterdir()}
    assert isinstance(failing(scans, scans, None), ConfigError)
    assert {path.name: path.read_bytes() for path in scans.iterdir()} == before


def test_one_file_and_good_scans_only(scans: Path, tmp_path: Path) -> None:
    infer(scans / "scan_1000.nii.gz", tmp_path, load_pretrain=False)
    assert list(table(tmp_path)) == ["scan_1000"]
    assert table(tmp_path)["scan_1000"]["checkpoint"] == "untrained"


def test_running_out_of_memory_is_one_cases_failure(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridgate.pipeline.inference.sliding_window import SlidingWindow

    original, calls = SlidingWindow.slabs, []

    def once(self: SlidingWindow, *args: Any, **kwargs: Any) -> ScoreSlabs:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(SlidingWindow, "slabs", once)
    failing(scans, tmp_path, None)
    found = table(tmp_path)
    assert (
        found["scan_1000"]["status"] == "failed" and "out of memory" in found["scan_1000"]["reason"]
    )
    assert found["scan_1001"]["status"] == "ok"


def test_a_good_mask_outlives_its_cases_failure_under_other_weights(
    finished: Path, scans: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridgate.pipeline.inference.sliding_window import SlidingWindow

    folder = tmp_path / "masks"
    shutil.copytree(finished, folder)

    def fail(*args: object, **kwargs: object) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(SlidingWindow, "slabs", fail)
    failing(scans, folder, weights(tmp_path / "other.pt", seed=1))
    before = {path.name: path.read_bytes() for path in finished.glob("*.nii.gz")}
    assert {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")} == before
    for name, row in table(folder).items():
        assert row["status"] == "failed" and row["output"] == ""
        assert (f"{name}.nii.gz is kept from an earlier run" in row["notes"]) == (name in GOOD)
    monkeypatch.undo()
    failing(scans, folder, model)  # the first weights again: not done, as the last run failed
    assert {name for name, row in table(folder).items() if row["status"] == "ok"} == set(GOOD)


def test_other_scans_of_the_same_name_and_other_settings_are_not_taken_for_done(
    finished: Path, scans: Path, model: Path, tmp_path: Path
) -> None:
    folder, others = tmp_path / "masks", tmp_path / "others"
    shutil.copytree(finished, folder)
    before = (folder / "scan_1000.nii.gz").stat().st_mtime_ns
    infer(scans / "scan_1000.nii.gz", folder, checkpoint=str(model))
    assert (folder / "scan_1000.nii.gz").stat().st_mtime_ns == before
    infer(scans / "scan_1000.nii.gz", folder, checkpoint=str(model), keep_largest=False)
    changed = (folder / "scan_1000.nii.gz").stat().st_mtime_ns
    assert changed != before
    others.mkdir()
    shutil.copy(scans / "scan_1001.nii.gz", others / "scan_1000.nii.gz")
    before = (folder / "scan_1000.nii.gz").read_bytes()
    error = failing(others, folder, model, keep_largest=False)
    assert isinstance(error, ConfigError) and "would overwrite it" in str(error)
    assert (folder / "scan_1000.nii.gz").read_bytes() == before
    infer(others, folder, checkpoint=str(model), keep_largest=False, overwrite=True)
    assert nib.load(folder / "scan_1000.nii.gz").shape == nib.load(scans / "scan_1001.nii.gz").shape


def test_a_scan_that_has_changed_is_not_done_and_one_that_has_moved_is(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    folder, here, there = tmp_path / "masks", tmp_path / "here", tmp_path / "there"
    here.mkdir()
    shutil.copy2(scans / "scan_1000.nii.gz", here / "a.nii.gz")
    infer(here, folder, checkpoint=str(model))
    before = (folder / "a.nii.gz").stat().st_mtime_ns
    here.rename(there)
    infer(there, folder, checkpoint=str(model))
    assert (folder / "a.nii.gz").stat().st_mtime_ns == before
    shutil.copy2(scans / "scan_1001.nii.gz", there / "a.nii.gz")
    infer(there, folder, checkpoint=str(model))
    assert nib.load(folder / "a.nii.gz").shape == nib.load(scans / "scan_1001.nii.gz").shape


def test_what_an_earlier_run_left_beside_a_mask_does_not_outlive_it(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    scan = scans / "scan_1000.nii.gz"
    infer(scan, tmp_path, checkpoint=str(model), probabilities=["liver"])
    beside = tmp_path / "probabilities" / "liver" / "scan_1000.nii.gz"
    assert beside.is_file()
    infer(scan, tmp_path, checkpoint=str(model))
    assert (tmp_path / "scan_1000.nii.gz").is_file() and not beside.exists()


def test_a_table_that_a_spreadsheet_has_saved_is_read(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    scan = scans / "scan_1000.nii.gz"
    infer(scan, tmp_path, checkpoint=str(model))
    before = (tmp_path / "scan_1000.nii.gz").stat().st_mtime_ns
    rows = list(csv.reader((tmp_path / "cases.csv").read_text().splitlines()))
    with open(tmp_path / "cases.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    infer(scan, tmp_path, checkpoint=str(model))
    assert (tmp_path / "scan_1000.nii.gz").stat().st_mtime_ns == before
    (tmp_path / "cases.csv").write_text("something,else\n1,2\n")
    assert "no table of cases" in str(failing(scan, tmp_path, model))


def test_a_file_name_that_is_not_utf8(scans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.nii.gz")
    shutil.copy(scans / "scan_1000.nii.gz", folder / name)
    infer(folder, tmp_path / "masks", load_pretrain=False)
    infer(folder, tmp_path / "masks", load_pretrain=False)
    (row,) = table(
        tmp_path / "masks"
    ).values()  # an id that any system and any reader of the table can hold
    assert row["case"] == "caf_" and row["input"].endswith(name)
    assert (tmp_path / "masks" / "caf_.nii.gz").is_file()
