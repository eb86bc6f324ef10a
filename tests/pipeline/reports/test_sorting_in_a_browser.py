"""Tables that sort and find rows, driven in Chromium as a reader does; nothing is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gridgate.pipeline.reports.page import Cell, Column, Page, Paragraph, Section, Table, render

ROWS = {"c10": ("0.90", "fine"), "c2": ("-", "failed"), "c3": ("0.1", "fine"), "c1": ("12", "odd")}


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> tuple[Any, list[str]]:
    """A page with a table, and the addresses that were asked for."""
    columns = [Column("case"), Column("Dice", number=True), Column("status")]
    rows = [(name, [Cell(text) for text in cells]) for name, cells in ROWS.items()]
    table = Table(columns, rows, sortable=True, links={"c3": "case_c3"})
    path = tmp_path / "report.html"
    path.write_bytes(render(Page("Cases", sections=[Section("All", [table])])))
    page, asked = chromium.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    return page, asked


def shown(page: Any) -> list[str]:
    """The cases whose rows are seen, from top to bottom."""
    return [text.strip() for text in page.locator("tbody tr:visible th").all_inner_texts()]


def test_a_click_sorts_by_number_and_another_turns_it_round(opened: tuple[Any, list[str]]) -> None:
    page, asked = opened
    assert shown(page) == ["c10", "c2", "c3", "c1"]
    page.get_by_role("button", name="Dice").click()
    assert shown(page) == ["c3", "c10", "c1", "c2"]  # what is no number comes last
    assert page.locator("th[aria-sort='ascending']").inner_text().strip() == "Dice"
    page.get_by_role("button", name="Dice").click()
    assert shown(page) == ["c1", "c10", "c3", "c2"]
    page.get_by_role("button", name="status").click()
    assert shown(page)[0] == "c2" and page.locator("th[aria-sort]").count() == 1
    assert len(asked) == 1 and asked[0].startswith("file:")


def test_the_keyboard_sorts_too(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    page.get_by_role("button", name="case").focus()
    page.keyboard.press("Enter")
    assert shown(page) == ["c1", "c10", "c2", "c3"]
    page.keyboard.press("Space")
    assert shown(page) == ["c3", "c2", "c10", "c1"]


def test_rows_are_found_by_any_of_their_words(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    page.get_by_role("searchbox").fill("FINE")
    assert shown(page) == ["c10", "c3"]
    page.get_by_role("button", name="Dice").click()
    assert shown(page) == ["c3", "c10"]
    page.get_by_role("searchbox").fill("")
    assert len(shown(page)) == 4


def test_a_row_leads_to_its_picture(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    page.get_by_role("link", name="c3").click()
    assert page.url.endswith("#case_c3")


def test_a_page_without_such_a_table_has_no_script() -> None:
    page = render(Page("Cases", sections=[Section("All", [Paragraph("nothing")])]))
    assert b"<script" not in page
