"""labels.json, .ctbl and .label, read as their programs read them."""

import json
import re
import shlex

import pytest

from gridgate.data.label_tables.files import label_files
from gridgate.data.label_tables.table import LabelTable

NAMES = ["background", "liver", 'left "big" kidney & <x>', "rate\tgauche\nß 脾", "]]>"]


@pytest.fixture
def table() -> LabelTable:
    return LabelTable.of(NAMES)


@pytest.fixture
def files(table: LabelTable) -> dict[str, str]:
    found = label_files(table, file_ending=".nrrd", channels=["CT", "PET"])
    return {name: content.decode("utf-8") for name, content in found.items()}


def test_the_json_is_a_dataset_json_of_nnunet(table: LabelTable, files: dict[str, str]) -> None:
    found = json.loads(files["labels.json"])
    assert found["labels"] == {name: value for value, name in enumerate(NAMES)}
    assert found["channel_names"] == {"0": "CT", "1": "PET"}
    assert found["file_ending"] == ".nrrd"
    assert found["colors"] == {one.name: list(one.color) for one in table.foreground}


def test_the_colour_table_is_read_by_words_as_slicer_does(
    table: LabelTable, files: dict[str, str]
) -> None:
    rows = [line.split() for line in files["labels.ctbl"].splitlines() if line[0] != "#"]
    assert [len(row) for row in rows] == [6] * len(NAMES)
    for row, label in zip(rows, table, strict=True):
        assert int(row[0]) == label.value
        assert row[1] == re.sub(r"\s", "_", label.name)
        assert tuple(map(int, row[2:5])) == label.color
        assert int(row[5]) == (255 if label.value else 0)


def test_the_label_descriptions_are_read_by_words_and_quotes_as_itksnap_does(
    table: LabelTable, files: dict[str, str]
) -> None:
    lines = [line for line in files["labels.label"].splitlines() if not line.startswith("#")]
    assert len(lines) == len(NAMES)
    for line, label in zip(lines, table, strict=True):
        before, name, after = line.split('"')
        *numbers, opacity, shown, mesh = shlex.split(before)
        assert (int(numbers[0]), *map(int, numbers[1:])) == (label.value, *label.color)
        assert float(opacity) == int(shown) == int(mesh) == (1 if label.value else 0)
        assert name == re.sub(r"\s", " ", label.name).replace('"', "'") and not after
