"""Only what Gridgate wrote is ever replaced or removed."""

import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from gridgate.data.errors import ConfigError, OutputError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.batch.evaluator import CasesFailedError

from .threshold import Threshold, evaluator, mask, run, table, write_scan


class Never(torch.nn.Module):
    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        raise AssertionError("something was computed")


class Failing(torch.nn.Module):
    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        raise MemoryError


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    for seed, name in enumerate("ab"):
        write_scan(tmp_path / "scans" / f"{name}.nii.gz", seed=seed)
    return [{"id": name, "image": str(tmp_path / "scans" / f"{name}.nii.gz")} for name in "ab"]


@pytest.mark.parametrize(
    ("place", "after"),
    [
        ("b.nii.gz", {}),
        ("b_seg.nii.gz", {"postfix": "_seg"}),
        ("b.seg.nrrd", {"output_ext": ".seg.nrrd"}),
        ("b.mha", {"output_ext": ".mha"}),
        ("labels.json", {}),
        ("labels.ctbl", {}),
        ("labels.label", {}),
        ("probabilities/dense/a.nii.gz", {"probabilities": ["dense"]}),
    ],
)
def test_a_foreign_file_in_a_results_place_is_refused_before_anything_is_computed(
    place: str, after: dict[str, Any], items: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "out" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"drawn by hand")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"not written by Gridgate.*--output_dir"):
            run(items, tmp_path / "out", after=after, network=Never(), overwrite=overwrite)
    assert path.read_bytes() == b"drawn by hand"
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert left == [path], "a refused run leaves nothing behind"


def test_other_foreign_files_are_left_alone(items: list[dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = [
        "a.seg.dcm",
        "other.nii.gz",
        ".download.partial",
        ".a.nii.gz.0123456789ab.partial",
        ".cases.csv.part",
        "probabilities/dense/a.nii.gz",
        "notes.txt",
    ]
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"someone else's")
        os.utime(out / name, (1, 1))  # older than the run
    run(items, out)
    run(items, out, settings={"overlap": 0.5})
    assert [(out / name).read_bytes() for name in names] == [b"someone else's"] * len(names)
    assert table(out)["a"]["status"] == "ok"


def test_a_mask_that_a_person_has_corrected_is_not_replaced(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(items, out)
    corrected = np.zeros((12, 12, 12), np.uint8)
    nib.save(nib.Nifti1Image(corrected, np.eye(4)), out / "a.nii.gz")
    before = (out / "a.nii.gz").read_bytes()
    run(items, out, network=Never())  # done, and stays so
    with pytest.raises(OutputError, match=r"a\.nii\.gz.*changed since"):
        run(items, out, settings={"other": 1})
    assert (out / "a.nii.gz").read_bytes() == before


def test_a_good_mask_stays_when_its_case_fails_under_new_settings(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(items, out, after={"probabilities": ["dense"]})
    before = {path: path.read_bytes() for path in out.rglob("*.nii.gz")}
    assert len(before) == 4
    with pytest.raises(CasesFailedError):
        run(items, out, settings={"other": 1}, network=Failing())
    assert {path: path.read_bytes() for path in out.rglob("*.nii.gz")} == before
    for name, row in table(out).items():
        assert row["status"] == "failed" and row["output"] == ""
        assert f"{name}.nii.gz is kept from an earlier run" in row["notes"]
    with pytest.raises(CasesFailedError):  # and again, when no row knows of it any more
        run(items, out, settings={"other": 1}, network=Failing())
    for name, row in table(out).items():
        assert f"{name}.nii.gz is kept from an earlier run" in row["notes"]
    run(items, out, settings={"other": 1})  # not of these settings, so not done; but ours
    assert {row["status"] for row in table(out).values()} == {"ok"}
    left = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.nii.gz"))
    assert left == ["a.nii.gz", "b.nii.gz"], "the probabilities were of other settings"


def test_a_case_that_fails_for_the_first_time_keeps_nothing(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(CasesFailedError):
        run(items, tmp_path / "out", network=Failing())
    assert {row["notes"] for row in table(tmp_path / "out").values()} == {""}


def test_masks_of_another_postfix_do_not_outlive_their_cases(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(items, out, settings={"postfix": ""})
    run(items, out, after={"postfix": "_seg"}, settings={"postfix": "_seg"})
    assert sorted(path.name for path in out.glob("*.nii.gz")) == ["a_seg.nii.gz", "b_seg.nii.gz"]


def earlier_version(out: Path) -> None:
    """As a version without a manifest has left its folder."""
    for path in (out / ".gridgate").iterdir():
        path.unlink()
    (out / ".gridgate").rmdir()


def test_the_folder_of_an_earlier_version_goes_on(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(items, out)
    earlier_version(out)
    run(items, out, network=Never())
    earlier_version(out)
    run(items, out, settings={"other": 1})
    assert OutputFolder(out).owns("a.nii.gz") and OutputFolder(out).owns("cases.csv")
    earlier_version(out)
    (out / "a.nii.gz").write_bytes(b"corrected by hand since")
    later = (out / "cases.csv").stat().st_mtime + 60
    os.utime(out / "a.nii.gz", (later, later))
    with pytest.raises(OutputError, match=r"a\.nii\.gz.*not written by Gridgate"):
        run(items, out, settings={"another": 1})
    assert (out / "a.nii.gz").read_bytes() == b"corrected by hand since"


def test_a_foreign_table_is_refused_and_stays(items: list[dict[str, Any]], tmp_path: Path) -> None:
    for text in ("name,age\nx,1\n", "no table"):
        path = tmp_path / "out" / "cases.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        with pytest.raises(OutputError, match="no table of cases"):
            run(items, tmp_path / "out", network=Never())
        assert path.read_text() == text


@pytest.mark.parametrize("name", ["../a", "sub/../../a", "/a", "C:/a", "..\\a", ".gridgate/a"])
def test_an_id_that_leads_out_of_the_folder_fails_and_the_others_do_not(
    name: str, items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(CasesFailedError):
        run([{**items[0], "id": name}, items[1]], out, after={"probabilities": ["dense"]})
    found = table(out)
    assert found["b"]["status"] == "ok" and found[name]["status"] == "failed"
    assert "give the case another id" in found[name]["reason"]
    outside = [path for path in tmp_path.rglob("*a.nii.gz") if "scans" not in path.parts]
    assert not outside


def test_the_inputs_are_never_overwritten(items: list[dict[str, Any]], tmp_path: Path) -> None:
    label = tmp_path / "labels" / "a.nii.gz"
    write_scan(label)
    before = label.read_bytes()
    with pytest.raises(ConfigError, match="would overwrite this file"):
        run([{**items[0], "label": str(label)}], label.parent, network=Never())
    assert label.read_bytes() == before


def test_worker_processes_write_into_the_manifest(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # as a module that a worker process can import
    engine = evaluator(items, out, isolate=True, network=torch.nn.Conv3d(1, 2, 1))
    engine.network.load_state_dict(
        {"weight": torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1, 1), "bias": torch.zeros(2)}
    )
    engine.data_loader.dataset.transform = engine.data_loader.dataset.transform.load
    engine.run()
    assert OutputFolder(out).owns("a.nii.gz") and OutputFolder(out).owns("b.nii.gz")
    assert not list((out / ".gridgate").glob("journal-*"))


def test_masks_are_what_the_network_says(items: list[dict[str, Any]], tmp_path: Path) -> None:
    truth = write_scan(tmp_path / "scans" / "a.nii.gz", seed=0)
    run(items, tmp_path / "out", network=Threshold())
    np.testing.assert_array_equal(mask(tmp_path / "out" / "a.nii.gz"), truth)


def test_a_table_of_somebody_else_with_the_same_columns_is_not_ours(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    theirs = "case,status,radiologist\np1,reviewed,Dr X: wrong side\n"
    (out / "cases.csv").write_text(theirs)
    with pytest.raises(OutputError, match="no table of cases"):
        run(items, out)
    assert (out / "cases.csv").read_text() == theirs


def test_a_column_that_somebody_added_stays(items: list[dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(items, out)
    header, *lines = (out / "cases.csv").read_text().splitlines()
    text = [f"{header},comment", *(f"{line},look again" for line in lines)]
    (out / "cases.csv").write_text("\n".join(text) + "\n")
    run(items, out)
    assert {row["comment"] for row in table(out).values()} == {"look again"}
