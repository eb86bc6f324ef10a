"""`gridgate check`: exit codes, the table, JSON, what a mended copy would do, and the copy."""

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset, write_dataset_json
from gridgate.data.datasets.soundness import checking
from gridgate.pipeline.cli.main import main

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def dataset(phantom_dataset: Path, tmp_path: Path) -> Iterator[Path]:
    """Three phantom CTs, links that a test may replace."""
    root = tmp_path / "D"
    source = load_dataset(phantom_dataset)
    for case in source.cases[:3]:
        assert case.label is not None
        for path in (case.images[0], case.label):
            (root / path.parent.name).mkdir(parents=True, exist_ok=True)
            (root / path.parent.name / path.name).symlink_to(path)
    write_dataset_json(root, "Three", source.labels, ("CT",), 3)
    yield root


def move_label(root: Path) -> str:
    """Shift the first label map by 40 mm in its header; the case."""
    path = sorted((root / "labelsTr").iterdir())[0]
    image = nib.load(path)
    affine = image.affine.copy()
    affine[2, 3] += 40
    array = np.asarray(image.dataobj)
    path.unlink()
    nib.save(nib.Nifti1Image(array, affine), path)
    return path.name.removesuffix(".nii.gz")


def test_a_sound_dataset_is_one_line(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(dataset)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{dataset}: 3 cases checked in ")
    assert printed.out.endswith(": sound\n")
    assert "error" not in printed.err


def test_an_error_is_told_and_the_exit_code_is_1(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = move_label(dataset)
    assert main(["check", str(dataset), "--json", str(tmp_path / "found.json")]) == 1
    printed = capsys.readouterr()
    assert "1 error" in printed.out.splitlines()[0]
    words = " ".join(printed.out.split())
    assert f"label-shifted 1 case: {case}" in words
    assert f"labelsTr/{case}.nii.gz: it does not lie on its image" in words
    assert "centres are 40.0 mm apart" in words
    assert "--fix: the image's affine is copied into the label map" in words
    assert printed.err.startswith(f"error: {dataset}: 1 error in 3 cases")
    content = json.loads((tmp_path / "found.json").read_text())
    assert [(one["kind"], one["case"]) for one in content["findings"]] == [("label-shifted", case)]


def test_files_of_somebody_else_stay(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes, page = tmp_path / "notes.json", tmp_path / "pages" / "check.html"
    page.parent.mkdir()
    for path in (notes, page):
        path.write_text("mine")
    words = ["check", str(dataset), "--workers", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(checking, "check_soundness", None)  # refused before any case is read
        assert main([*words, "--json", str(notes)]) == 1
        assert f"{notes} is there already; --overwrite True" in capsys.readouterr().err
        assert main([*words, "--page", str(page.parent)]) == 1
        assert f"{page}: this file was not written by Gridgate" in capsys.readouterr().err
    assert notes.read_text() == page.read_text() == "mine"
    assert main([*words, "--json", str(notes), "--overwrite", "True"]) == 0
    assert json.loads(notes.read_text())["cases"] == 3
    for _ in range(2):  # a page of ours is replaced
        assert main([*words, "--page", str(tmp_path / "ours")]) == 0


def test_a_dry_run_writes_nothing_and_the_copy_is_sound(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = move_label(dataset)
    out = tmp_path / "mended"
    assert main(["check", str(dataset), "--fix", str(out), "--dry-run"]) == 1
    told = capsys.readouterr().out
    assert f"{case}: label-shifted: the image's affine is copied into the label map" in told
    assert not out.exists()
    assert main(["check", str(dataset), "--fix", str(out)]) == 0
    assert "1 mended, 5 linked files" in capsys.readouterr().out
    assert main(["check", str(out)]) == 0
    assert capsys.readouterr().out.endswith(": sound\n")
    image, label = (
        nib.load(out / folder / f"{case}.nii.gz") for folder in ("imagesTr", "labelsTr")
    )
    assert np.allclose(image.affine, label.affine)
    assert main(["check", str(dataset), "--fix", str(out)]) == 1
    assert "not empty" in capsys.readouterr().err


def test_findings_as_events(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = move_label(dataset)
    assert main(["check", str(dataset), "--json-log"]) == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [found] = [event for event in events if event["event"] == "finding"]
    assert (found["kind"], found["case"], found["level"]) == ("label-shifted", case, "error")
    assert events[-1] == {**events[-1], "event": "end", "code": 1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "nowhere/dataset.json: does not exist"),
        (["D", "--dry-run"], "--fix"),
        (["D", "--workers", "0"], "--workers 0: give 1 or more"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error
    assert error.count("\n") == 1
