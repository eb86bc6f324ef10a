"""`gridgate import` and `gridgate export-dataset` as they are typed: what they say and ask."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.images.reading import read_labels
from gridgate.pipeline.cli.main import main

pytestmark = pytest.mark.usefixtures("elsewhere")
Answers = Callable[..., list[str]]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "my scans"
    for number in range(3):
        for part, array in (
            (f"img/Jäger.{number} CT.nii.gz", np.full((5, 5, 5), -900 + number, np.int16)),
            (f"seg/Jäger.{number} RTSS.nii.gz", np.eye(5, dtype=np.uint8)[..., None].repeat(5, 2)),
        ):
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array * (1 + ("seg" in part)), np.eye(4)), folder / part)
    return folder


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Somebody at a terminal who gives answers; the questions are kept."""

    def at(*answers: str) -> list[str]:
        asked: list[str] = []
        left = list(answers)

        def answer(question: str = "") -> str:
            asked.append(question)
            return left.pop(0)

        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", answer)
        return asked

    return at


def test_without_a_terminal_the_proposal_is_shown_and_nothing_written(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(scans), str(tmp_path / "D")]) == 1
    said = capsys.readouterr().err
    assert "3 cases by --images 'img/* CT.nii.gz' --labels 'seg/* RTSS.nii.gz'" in said
    assert "Jäger.1  img/Jäger.1 CT.nii.gz  seg/Jäger.1 RTSS.nii.gz" in said
    assert "--yes" in said
    assert not (tmp_path / "D").exists()


def test_at_a_terminal_the_pairing_and_the_names_are_asked_for(
    scans: Path, tmp_path: Path, terminal: Answers
) -> None:
    asked = terminal("y", "left kidney")
    assert main(["import", str(scans), str(tmp_path / "D")]) == 0
    assert asked == ["Import these? [y/N] ", "name of 2 [label_2]: "]
    assert load_dataset(tmp_path / "D").labels == {"background": 0, "left kidney": 2}


def test_a_pairing_that_is_not_accepted_writes_nothing(
    scans: Path, tmp_path: Path, terminal: Answers
) -> None:
    terminal("")
    assert main(["import", str(scans), str(tmp_path / "D")]) == 1
    assert not (tmp_path / "D").exists()


def test_values_without_names_and_nobody_to_ask(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(scans), str(tmp_path / "D"), "--images", "img/* CT.nii.gz"]
    assert main([*words, "--labels", "seg/* RTSS.nii.gz"]) == 1
    said = capsys.readouterr().err
    assert "the values 2 (in 3) and no names" in said
    assert "--label_names '{name_2: 2}'" in said
    assert not (tmp_path / "D").exists()


def test_yes_takes_the_pairing_numbers_the_labels_and_warns(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(scans), str(tmp_path / "D"), "--yes", "--licence", "CC0", "--name", "N"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "the labels are called label_2" in said.err
    assert said.out == (f"{tmp_path / 'D'}: 3 cases; labels label_2; 6 files made, 0 were there\n")
    assert json.loads((tmp_path / "D/dataset.json").read_text())["licence"] == "CC0"
    assert load_dataset(tmp_path / "D").name == "N"
    assert main(words) == 0
    assert "all was there, nothing was changed" in capsys.readouterr().out


def test_a_log_of_json_lines_tells_what_was_imported(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(scans), str(tmp_path / "D"), "--yes", "--json-log"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (told,) = [event for event in events if event["event"] == "imported"]
    assert (told["cases"], told["tests"], told["made"], told["kept"]) == (3, 0, 6, 0)
    assert told["folder"] == str(tmp_path / "D")


def test_a_list_of_names_counts_from_one(scans: Path, tmp_path: Path) -> None:
    words = ["import", str(scans), str(tmp_path / "D"), "--yes", "--channel_names", "CTA"]
    assert main([*words, "--label_names", "[liver, spleen]"]) == 0
    dataset = load_dataset(tmp_path / "D")
    assert dataset.labels == {"background": 0, "liver": 1, "spleen": 2}
    assert dataset.channel_names == ("CTA",)


def test_what_lacks_its_counterpart_is_left_out_when_told_so(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scans / "img/Jäger.1 CT.nii.gz").unlink()
    words = ["import", str(scans), str(tmp_path / "D"), "--yes"]
    assert main(words) == 1
    assert "seg/Jäger.1 RTSS.nii.gz: no image of the case 'Jäger.1'" in capsys.readouterr().err
    assert main([*words, "--skip_unpaired"]) == 0
    assert "left out: seg/Jäger.1 RTSS.nii.gz" in capsys.readouterr().err
    assert [case.id for case in load_dataset(tmp_path / "D").cases] == ["Jäger.0", "Jäger.2"]


def test_masks_by_pattern(scans: Path, tmp_path: Path) -> None:
    masks = '{gut: "seg/* RTSS.nii.gz"}'
    words = ["import", str(scans), str(tmp_path / "D"), "--images", "img/* CT.nii.gz"]
    assert main([*words, "--masks", masks]) == 0
    assert load_dataset(tmp_path / "D").labels == {"background": 0, "gut": 1}
    assert read_labels(tmp_path / "D/labelsTr/Jäger.0.nii.gz").array.max() == 1


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("msd:", [], "Task10_Colon "),
        ("msd:Task11_Toe", [], "no task of the Decathlon"),
        ("msd:Task09_Spleen", ["--images", "*"], "--images does not go with a task"),
        ("SCANS", ["--images", "img/* CT.nii.gz"], "--images and --labels"),
        ("SCANS", ["--images", "i/*", "--labels", "seg/*"], "fits the pattern 'i/\\*'"),
        ("SCANS", ["--images", "img/a.nii.gz", "--labels", "seg/*"], "has no star"),
        ("SCANS", ["--images", "../*", "--labels", "seg/*"], "leads out of"),
        ("SCANS", ["--yes", "--label_names", "{liver: 1, gut: 1}"], "both have 1"),
        ("SCANS", ["--yes", "--label_names", "liver"], "write it as"),
        ("SCANS", ["--classes", "[liver]"], "--classes"),
        ("SCANS", ["--checksum", "abc"], "--checksum does not go with"),
        ("nowhere", [], "no such folder"),
    ],
)
def test_what_cannot_be_is_said_in_words_and_writes_nothing(
    scans: Path,
    tmp_path: Path,
    source: str,
    options: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = str(scans) if source == "SCANS" else source
    assert main(["import", name, str(tmp_path / "D"), *options]) == 1
    said = capsys.readouterr().err
    assert says.replace("\\*", "*") in said
    assert not (tmp_path / "D").exists()


def test_export_prints_the_raw_dataset_of_nnunet(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["import", str(scans), str(tmp_path / "D"), "--yes", "--name", "My CTs"])
    capsys.readouterr()
    out = tmp_path / "raw"
    assert main(["export-dataset", str(tmp_path / "D"), "--nnunet", str(out), "--folds", "3"]) == 0
    folder = out / "Dataset501_MyCts"
    assert capsys.readouterr().out == f"{folder}\n"
    assert (folder / "imagesTr/Jäger.0_0000.nii.gz").resolve() == scans / "img/Jäger.0 CT.nii.gz"
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "label_2": 1}  # nnU-Net wants values without gaps
    assert read_labels(folder / "labelsTr/Jäger.0.nii.gz").array.max() == 1


def test_annotated_labels_are_declared(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(scans), str(tmp_path / "D"), "--yes", "--label_names", "{a: 2, b: 3}"]
    assert main([*words, "--annotated", '{"*.1": a}']) == 0
    annotated = {case.id: case.annotated for case in load_dataset(tmp_path / "D").cases}
    assert annotated == {"Jäger.0": None, "Jäger.1": ("a",), "Jäger.2": None}
    assert json.loads((tmp_path / "D/dataset.json").read_text())["annotated"] == {"*.1": ["a"]}
    capsys.readouterr()
    for given, text in (
        ('{"*.7": a}', "fits no case"),
        ("[a]", "write it as"),
        ("{'*': c}", "'c'"),
    ):
        assert main([*words, "--annotated", given]) == 1
        assert text in capsys.readouterr().err


def test_who_answers_nothing_imports_nothing(
    scans: Path,
    tmp_path: Path,
    terminal: Answers,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal()

    def ended(question: str = "") -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    assert main(["import", str(scans), str(tmp_path / "D")]) == 1
    assert "nothing was answered" in capsys.readouterr().err
    assert not (tmp_path / "D").exists()


def test_values_of_masks_that_are_no_numbers(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", str(scans), str(tmp_path / "D"), "--images", "img/* CT.nii.gz"]
    words += ["--masks", "{liver: 'seg/* RTSS.nii.gz'}", "--label_names", "{liver: one}"]
    assert main(words) == 1
    assert "'liver' has the value 'one', not a whole number" in capsys.readouterr().err


def test_links_do_not_lead_through_where_it_was_typed(
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    words = ["--images", "img/* CT.nii.gz", "--labels", "seg/* RTSS.nii.gz", "--yes"]
    assert main(["import", "../my scans", "../D", *words]) == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").rmdir()
    (first, *_) = sorted((tmp_path / "D/imagesTr").iterdir())
    assert first.is_symlink() and first.exists() and ".." not in str(first.readlink())
    assert main(["import", str(scans), str(tmp_path / "D"), *words]) == 0
    assert load_dataset(tmp_path / "D").name == "my scans"
    (scans / "below").mkdir()
    monkeypatch.chdir(scans / "below")
    assert main(["import", "..", str(tmp_path / "E"), *words]) == 0
    assert load_dataset(tmp_path / "E").name == "my scans"
