"""Words of a command line: YAML 1.2, text that stays text, paths that are data."""

import math
from typing import Any

import pytest
from monai.bundle import ConfigParser

from gridgate.data.errors import ConfigError
from gridgate.pipeline.config.values import (
    as_data,
    override_value,
    quoted,
    read_value,
    settle,
    unquoted,
)

# https://yaml.org/spec/1.2.2/#1032-tag-resolution, and what YAML 1.1 made of the others
VALUES: list[tuple[str, Any]] = [
    ("1", 1),
    ("-1", -1),
    ("+2", 2),
    ("0", 0),
    ("0x1F", 31),
    ("0o17", 15),
    ("1.5", 1.5),
    ("-.5", -0.5),
    ("2.", 2.0),
    ("1e-3", 0.001),
    ("1E3", 1000.0),
    ("2.5E-4", 0.00025),
    (".inf", math.inf),
    ("-.INF", -math.inf),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("[2, 2, 3]", [2, 2, 3]),
    ("[1e-3, 007, no, 12:30]", [0.001, "007", "no", "12:30"]),
    ("{mode: zscore}", {"mode": "zscore"}),
    ("{a: [1, {b: null}]}", {"a": [1, {"b": None}]}),
    ("'12'", "12"),
    ('"true"', "true"),
]
TEXTS = [
    "007",
    "-012",
    "017",
    "00",
    "0.10.2",
    "2024-01-02",
    "2024-01-02T10:00:00",
    "12:30",
    "190:20:30",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "1_000",
    "0b11",
    "1e",
    "e3",
    "1.2.3",
    "=",
    "<<",
    "a #b",
    "#3",
    "a: b: c",
    "*x",
    "!x",
    "&x",
    "`x",
    "runs/a b/model.pt",
    "tRue",
    "nULL",
    "00.5",
    "01e5",
]


@pytest.mark.parametrize(("text", "wanted"), VALUES)
def test_values_of_yaml_1_2(text: str, wanted: Any) -> None:
    found = read_value(text)
    assert found == wanted and type(found) is type(wanted)


@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_text(text: str) -> None:
    assert read_value(text) == text
    assert override_value("train::loss::name", text, "dice") == text
    assert override_value("output_dir", text, "./output") == text


@pytest.mark.parametrize("text", ["[1, 2", "{a: 1", "'a", "[1]]", "{a: 1, a: 2}", "[a: b: c]"])
def test_what_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--spacing .*cannot be read as YAML"):
        override_value("spacing", text)


@pytest.mark.parametrize(
    ("id_", "text", "default", "wanted"),
    [
        ("modality", "12", "CT", "12"),
        ("modality", "1e3", "CT", "1e3"),
        ("amp", "true", "auto", True),
        ("keys", "[image, label]", "image", ["image", "label"]),
        ("spacing", "12", [1, 1, 1], 12),
        ("region_values", "[1, 2]", None, [1, 2]),
        ("region_values", "@other", None, "@other"),
        ("region_values", "null", [1, 2], None),
        ("cache_dir", "null", "x", None),
        ("spacing", "@roi_size", [1, 1, 1], "@roi_size"),
        ("device", "$torch.device('cpu')", "$x()", "$torch.device('cpu')"),
        ("orientation", "null", "RAS", "null"),
        ("foreground", "null", "body", None),
        ("foreground", "None", None, None),
        ("output_dir", "null", "@x", "null"),
        ("output_dir", "[1]", "./o", "[1]"),
        ("checkpoint", "~", "$x", None),
        ("checkpoint", "[a, 007, c#d]", "$x", ["a", "007", "c#d"]),
        ("evaluator::checkpoint", "1", "$x", "1"),
        ("pretrained_encoders::vit", "12", None, "12"),
    ],
)
def test_values_of_settings(id_: str, text: str, default: Any, wanted: Any) -> None:
    found = override_value(id_, text, default)
    assert found == wanted and type(found) is type(wanted)


def test_a_list_that_is_a_file_is_a_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert override_value("checkpoint", "[a]") == ["a"]
    (tmp_path / "[a]").touch()
    assert override_value("checkpoint", "[a]") == "[a]"


HARD = [
    "#",
    "a#b",
    "$1/0",
    "@a",
    "%a",
    "a@::b",
    "'",
    '"',
    "\\",
    "\\#",
    "\n#",
    "\u00fc#\udcff",
    "import #",
]


@pytest.mark.parametrize("text", HARD)
@pytest.mark.parametrize("id_", ["output_dir", "input_dir"])
def test_monais_parser_gives_quoted_text_back(text: str, id_: str) -> None:
    parser = ConfigParser({"a": 5, "ref": f"@{id_}", "more": f"$@{id_} + '/x'"})
    parser[id_] = as_data(id_, text)
    assert parser.get_parsed_content(id_) == text
    assert parser.get_parsed_content("ref") == text
    assert parser.get_parsed_content("more") == text + "/x"
    assert unquoted(quoted(text)) == text


def test_code_of_other_settings_is_left_alone() -> None:
    assert as_data("overlap", "$1 / 2") == "$1 / 2"
    assert unquoted("$'a' + 'b'") == "$'a' + 'b'"
    parser = ConfigParser({"labels": as_data("labels", ["a#1", "$1 + 1", {"b": "c#d"}])})
    assert parser.get_parsed_content("labels") == ["a#1", 2, {"b": "c#d"}]


@pytest.mark.parametrize("name", ["modality", "output_channels", "spacing", "merge_labels"])
def test_what_a_plan_may_leave_open_can_be_null(name: str) -> None:
    known = {"modality": "CT", "output_channels": 1, "spacing": [1.0, 1.0, 1.0], "merge_labels": {}}
    given = {**known, name: "null"}
    settle(given, known)
    assert given[name] is None
