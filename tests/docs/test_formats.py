"""The tables of columns and of error texts are those of the code."""

import ast
import re
from pathlib import Path

import pytest

from gridgate.data import errors
from gridgate.pipeline.batch.results.case_result import DONE, FAILED, PASSED_OVER
from gridgate.pipeline.batch.results.case_table import CaseTable
from gridgate.pipeline.evaluation.lesions import LESION_COLUMNS
from gridgate.pipeline.evaluation.metrics import METRICS
from gridgate.pipeline.training.engine.stopwatch import PARTS
from gridgate.pipeline.training.profiling import COLUMNS, DRAW

from .documents import REPOSITORY, inline_code, text_of

FILES, REFUSED = Path("docs/files.md"), Path("docs/refused.md")
ROOMS = ("data", "transforms", "networks", "pipeline")


def section(title: str) -> str:
    return text_of(FILES).partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def first_cells(table: str) -> set[str]:
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row)}


def test_columns_of_cases_csv(tmp_path: Path) -> None:
    columns = CaseTable(tmp_path, labels=["background", "<label>"]).columns
    assert first_cells(section("cases.csv")) == set(columns)
    row = next(line for line in section("cases.csv").splitlines() if line.startswith("| `status`"))
    assert all(f"`{status}`" in row for status in (DONE, FAILED, PASSED_OVER))


def test_columns_of_metrics_csv() -> None:
    always = {"case", "label", "value", *METRICS, "tolerance_mm", "status"}
    assert first_cells(section("metrics.csv")) == {*always, *LESION_COLUMNS}


def test_columns_of_metrics_train_csv() -> None:
    (row,) = [line for line in text_of(FILES).splitlines() if line.startswith("| `metrics_train")]
    named = set(inline_code(row)) - {"metrics_train.csv"}
    source = (REPOSITORY / "pipeline/training/handlers.py").read_text()
    fixed = ast.literal_eval(re.search(r"fixed = (\[.*?\])", source)[1])  # type: ignore[index]
    assert named == {*fixed, "dice_<label>"}


def test_columns_of_profile_csv() -> None:
    (row,) = [line for line in text_of(FILES).splitlines() if line.startswith("| `profile.csv")]
    assert set(inline_code(row)) == {"profile.csv", "--profile", *COLUMNS}
    page = text_of(FILES.parent / "tasks" / "own_scans.md").partition("### Where the time goes")[2]
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert re.findall(r"`(\w+)`", "".join(rows)) == [*PARTS, DRAW]


def texts_of_the_code() -> str:
    """All text in the rooms' sources, with {} for what is put in, a line per string."""
    found = []
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [
                        part.value if isinstance(part, ast.Constant) else "{}"
                        for part in node.values
                    ]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_the_texts_of_errors_are_those_of_the_code() -> None:
    code = texts_of_the_code()
    quoted = [
        line.split("|")[1].strip().strip("`")
        for line in text_of(REFUSED).splitlines()
        if line.startswith("| `") and "Error`" not in line
    ]
    assert len(quoted) > 40
    assert [text for text in quoted if text not in code] == []


@pytest.mark.parametrize("name", [n for n in vars(errors) if n.endswith("Error")])
def test_the_page_names_every_type_of_error(name: str) -> None:
    assert f"`{name}`" in text_of(REFUSED)


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_measured_numbers_are_those_of_their_source(page: Path) -> None:
    """A section that names a page of benchmarks/results has no numbers in its tables but of there.

    A number there may have more digits behind it, such as a standard deviation.
    """
    for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
        names = re.findall(r"`(benchmarks/results/\w+\.(?:md|csv))`", part)
        if not names or "<!--" in part:
            continue
        known = {
            number
            for name in names
            for number in re.findall(r"\d[\d,.]*\d", (REPOSITORY / name).read_text())
        }
        rows = [line for line in part.splitlines() if line.startswith("|")]
        shown = [number for row in rows for number in re.findall(r"\d[\d,.]*\d", row)]
        assert shown, f"{page}: {names} is named, and nothing of it shown"
        assert [number for number in shown if number not in known] == []
