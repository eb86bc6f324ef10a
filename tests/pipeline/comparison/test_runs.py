"""Tables of metrics that other programs and earlier versions wrote."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ConfigError, DatasetError
from gridgate.pipeline.comparison.runs import read_runs


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def ours(folder: Path, dice: dict[str, dict[str, Any]]) -> Path:
    """A metrics.csv: case -> label -> Dice."""
    rows = [
        {"case": case, "label": label, "value": number, "dice": value}
        for case, of in dice.items()
        for number, (label, value) in enumerate(of.items(), start=1)
    ]
    table(folder / "metrics.csv", rows)
    return folder


def test_a_folder_of_ours(tmp_path: Path) -> None:
    dice = {"c1": {"liver": 0.9, "gall": ""}, "c2": {"liver": 0.8, "gall": "nan"}}
    (run,) = read_runs([ours(tmp_path / "a", dice)])
    assert run.name == "a" and run.labels == ["liver", "gall"] and run.cases == ["c1", "c2"]
    assert run.metrics == ["dice"] and run.numbers["dice"]["liver"] == {"c1": 0.9, "c2": 0.8}
    assert all(math.isnan(one) for one in run.numbers["dice"]["gall"].values())
    assert run.values == {"liver": 1, "gall": 2}


def test_a_table_with_other_words(tmp_path: Path) -> None:
    rows = [{"Subject": "x/c1.nii.gz", "Organ": "Left Kidney", "DSC": "0.5", "HD95": "3", "n": "9"}]
    (run,) = read_runs([table(tmp_path / "theirs.csv", rows)])
    assert run.name == "theirs" and run.metrics == ["dice", "hd95_mm"]
    assert run.numbers["dice"] == {"Left Kidney": {"c1": 0.5}}
    assert run.numbers["hd95_mm"] == {"Left Kidney": {"c1": 3.0}}


def test_labels_have_the_first_runs_words(tmp_path: Path) -> None:
    rows = [{"case": "c1", "label": "Left Kidney", "dice": 0.4}]
    first = ours(tmp_path / "a", {"c1": {"left_kidney": 0.5}})
    runs = read_runs([first, table(tmp_path / "b.csv", rows)])
    assert [run.labels for run in runs] == [["left_kidney"], ["left_kidney"]]


def nnunet(path: Path) -> Path:
    counts = {"TP": 6, "FP": 2, "FN": 4, "TN": 88, "n_pred": 8, "n_ref": 10}
    none = {"TP": 0, "FP": 0, "FN": 0, "TN": 100, "Dice": math.nan, "IoU": math.nan}
    cases = [
        {
            "prediction_file": "/out/c1.nii.gz",
            "reference_file": "/labels/c1.nii.gz",
            "metrics": {"1": {**counts, "Dice": 12 / 18, "IoU": 0.5}, "2": none},
        }
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"metric_per_case": cases, "mean": {}, "foreground_mean": {}}))
    return path


def test_nnunets_summary_has_the_names_of_another_run(tmp_path: Path) -> None:
    nnunet(tmp_path / "nn" / "summary.json")
    first = ours(tmp_path / "a", {"c1": {"liver": 0.7, "gall": 0.2}})
    _, run = read_runs([first, tmp_path / "nn"])
    assert run.name == "nn" and run.labels == ["liver", "gall"]
    assert run.numbers["dice"]["liver"]["c1"] == pytest.approx(2 / 3)
    assert run.numbers["precision"]["liver"]["c1"] == 0.75
    assert run.numbers["recall"]["liver"]["c1"] == 0.6
    assert run.numbers["specificity"]["liver"]["c1"] == pytest.approx(88 / 90)
    assert math.isnan(run.numbers["precision"]["gall"]["c1"])
    assert run.numbers["specificity"]["gall"]["c1"] == 1.0
    (alone,) = read_runs([tmp_path / "nn" / "summary.json"])
    assert alone.labels == ["1", "2"]


def test_names_are_as_long_as_they_have_to_be(tmp_path: Path) -> None:
    dice = {"c1": {"liver": 0.7}}
    folders = [ours(tmp_path / one / "fold_0", dice) for one in ("a", "b")]
    assert [run.name for run in read_runs(folders)] == ["a/fold_0", "b/fold_0"]
    assert [run.name for run in read_runs(folders, ["x", "y"])] == ["x", "y"]
    for names in (["x"], ["x", "x"]):
        with pytest.raises(ConfigError, match="2 runs need as many different names"):
            read_runs(folders, names)
    with pytest.raises(ConfigError, match="given twice"):
        read_runs([folders[0], folders[0]])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a,b\n1,2\n", "no column for case and label"),
        ("case,label\nc,l\n", "no metric"),
        ("case,label,dice\nc,l,good\n", "'good' is no number"),
        ("case,label,dice\nc,l,1\nc,l,1\n", "two rows of c and l"),
        ("case,label,dice\nc,l,1\naverage\n", "line 3 has no case or no label"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match=text) as error:
        read_runs([path])
    assert "t.csv" in str(error.value)


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds neither metrics\.csv nor summary\.json"):
        read_runs([tmp_path])
    with pytest.raises(DatasetError, match=r"cannot be read"):
        read_runs([tmp_path / "none.csv"])
    with pytest.raises(DatasetError, match="is wanted"):
        read_runs([tmp_path / "mask.nii.gz"])
    other = tmp_path / "summary.json"
    other.write_text('{"cases": 3}')
    with pytest.raises(DatasetError, match=r"no summary\.json of nnU-Net"):
        read_runs([other])


def test_tables_as_spreadsheets_and_pandas_write_them(tmp_path: Path) -> None:
    """With a mark at the beginning, values as 1.0, and infinity for what is not defined."""
    text = "\ufeffcase,label,value,hd95\nc1,liver,1.0,2.5\nc2,liver,1.0,inf\nc1,gall,x,-inf\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    (run,) = read_runs([tmp_path / "t.csv"])
    assert run.values == {"liver": 1}
    assert run.numbers["hd95_mm"]["liver"]["c1"] == 2.5
    assert math.isnan(run.numbers["hd95_mm"]["liver"]["c2"])
    assert math.isnan(run.numbers["hd95_mm"]["gall"]["c1"])


def test_two_tables_of_one_folder_are_two_runs(tmp_path: Path) -> None:
    first = ours(tmp_path, {"c1": {"liver": 0.7}}) / "metrics.csv"
    runs = read_runs([first, nnunet(tmp_path / "summary.json")])
    assert [run.name for run in runs] == ["metrics.csv", "summary.json"]


def test_values_that_mean_two_labels_are_refused(tmp_path: Path) -> None:
    first = ours(tmp_path / "a", {"c1": {"liver": 0.7, "gall": 0.2}})
    second = ours(tmp_path / "b", {"c1": {"gall": 0.7, "liver": 0.2}})
    assert len(read_runs([first, second])) == 2, "they know their labels"
    with pytest.raises(DatasetError, match=r"the value 1 liver, .* calls it gall"):
        read_runs([first, second, nnunet(tmp_path / "nn" / "summary.json")])
