"""The viewer in Chromium: where the patient's sides are, keys and buttons, what is asked for."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from gridgate.pipeline.reports.page import Cell, Column, Page, Section, Table, render
from gridgate.pipeline.reports.viewer.server import Viewer
from gridgate.pipeline.reports.viewer.shown import ShownCase, ShownMask

_PATIENCE = 120_000  # ms; WebGL is computed on the CPU


def marked(folder: Path, letters: str) -> ShownCase:
    """A grey block, and in it a bright cube at the patient's left, front and top.

    Args:
        letters: how it is stored.
    """
    scan = np.full((20, 20, 20), -1000, np.int16)
    scan[2:18, 2:18, 2:18] = 40
    mask = np.zeros(scan.shape, np.uint8)
    cube = slice(3, 7), slice(13, 17), slice(13, 17)  # of RAS
    scan[cube] = 2000
    mask[cube] = 1
    mask[13:17, 3:7, 3:7] = 2  # right, back and bottom
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -38
    to = nib.orientations.axcodes2ornt(letters)
    for name, array in (("scan", scan), ("mask", mask)):
        image = nib.Nifti1Image(array, affine).as_reoriented(
            nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), to)
        )
        assert nib.aff2axcodes(image.affine) == tuple(letters)
        nib.save(image, folder / f"{name}.nii.gz")
    shown = ShownMask("prediction", folder / "mask.nii.gz", {1: "spleen", 2: "appendix"})
    return ShownCase("marked", str(folder / "scan.nii.gz"), [shown])


@contextmanager
def opened(chromium: Any, viewer: Viewer) -> Iterator[tuple[Any, list[str]]]:
    """The viewer's page, drawn, and every address that was asked for."""
    thread = threading.Thread(target=viewer.serve, daemon=True)
    thread.start()
    page, asked = chromium.new_page(viewport={"width": 700, "height": 420}), []
    page.set_default_timeout(_PATIENCE)
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    try:
        page.goto(viewer.url)
        page.locator("body[data-ready]").wait_for()
        yield page, asked
        assert not faults
    finally:
        page.close()
        viewer.close()
        thread.join(20)


def drawn(page: Any) -> np.ndarray:
    """What the canvas shows, (rows, columns, RGB)."""
    content = page.locator("canvas").screenshot(timeout=_PATIENCE)
    return np.asarray(imread(io.BytesIO(content)))[..., :3]


def middle(where: np.ndarray) -> tuple[float, float]:
    """Row and column of the centre of mass."""
    rows, columns = np.nonzero(where)
    assert len(rows)
    return float(rows.mean()), float(columns.mean())


@pytest.mark.slow
@pytest.mark.parametrize("letters", ["RAS", "LPS", "SLA"])
def test_the_patients_left_is_at_the_right_of_the_picture(
    chromium: Any, tmp_path: Path, letters: str
) -> None:
    viewer = Viewer([marked(tmp_path, letters)])
    with opened(chromium, viewer) as (page, _):
        page.keyboard.press("s")  # no masks
        page.keyboard.press("x")  # no crosshair
        for key, up, aside in (("2", "front", "left"), ("3", "top", "left"), ("4", "top", "front")):
            page.keyboard.press(key)
            picture = drawn(page)
            grey = picture.mean(axis=-1)
            body, cube = (grey > 0.2) & (grey < 0.8), grey > 0.95
            # the slice through the middle of the masks' labels need not hold the cube
            for _ in range(12):
                if cube.sum() > 50:
                    break
                for step in ("ArrowUp", "PageUp", "ArrowRight"):
                    page.keyboard.press(step)
                grey = drawn(page).mean(axis=-1)
                body, cube = (grey > 0.2) & (grey < 0.8), grey > 0.95
            (row, column), (here_row, here_column) = middle(body), middle(cube)
            assert here_row < row - 5, f"the {up} is not up"
            # left at the right in axial and coronal pictures; the front at the left in sagittal
            assert (here_column > column + 5) == (aside == "left"), aside
            assert abs(here_column - column) > 5


@pytest.mark.slow
def test_an_oblique_scan_opens_at_the_labels_and_nothing_is_named_beyond_a_mask(
    chromium: Any, tmp_path: Path
) -> None:
    case = marked(tmp_path, "RAS")
    turned = np.eye(4)
    angle = np.deg2rad(25)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned[:3, 3] = 5, -40, 90
    for name in ("scan", "mask"):
        image = nib.load(tmp_path / f"{name}.nii.gz")
        array = np.asarray(image.dataobj)
        affine = turned @ image.affine
        if name == "mask":  # a grid that is smaller than the scan's
            affine = affine.copy()
            affine[:3, 3] += affine[:3, :3] @ [1, 1, 1]
            array = array[1:19, 1:19, 1:19]
        nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
    viewer = Viewer([case])
    index = (np.array([4.5, 14.5, 14.5]) + np.array([14.5, 4.5, 4.5])) / 2
    centre = nib.load(case.scan).affine @ [*index, 1]
    np.testing.assert_allclose(case.told()["centre"], centre[:3], atol=1e-6)
    with opened(chromium, viewer) as (page, _):
        shown = page.locator("#where").inner_text()
        for value, (plus, minus) in zip(centre[:3], ("RL", "AP", "SI"), strict=True):
            told = float(shown.split(plus if value >= 0 else minus)[1].split()[0])
            assert abs(told - abs(value)) < 4, shown
        for _ in range(30):  # to the scan's edge, beyond the mask's
            page.keyboard.press("ArrowRight")
        assert page.locator("#where").inner_text().endswith("-")


@pytest.mark.slow
def test_keys_and_buttons(chromium: Any, tmp_path: Path) -> None:
    viewer = Viewer([marked(tmp_path, "RAS")])
    with opened(chromium, viewer) as (page, asked):
        assert page.locator("h1").inner_text() == "marked"
        names = page.locator(".mask li").all_inner_texts()
        assert [text.split("\n")[0] for text in names] == ["spleen", "appendix"]
        assert names[0].split()[-2:] == ["4.10", "ml"]  # 64 voxels of 64 mm^3
        page.get_by_role("button", name="axial").click()
        assert page.locator("#layout [aria-pressed='true']").inner_text() == "axial"
        page.keyboard.press("3")
        assert page.locator("#layout [aria-pressed='true']").inner_text() == "coronal"
        page.keyboard.press("2")

        def coloured() -> int:
            picture = drawn(page)
            return int((picture.max(axis=-1) - picture.min(axis=-1) > 0.15).sum())

        page.keyboard.press("x")  # the crosshair is yellow
        where = page.locator("#where")
        before = where.inner_text()
        for _ in range(4):
            page.keyboard.press("ArrowUp")
        after = where.inner_text()
        assert before != after and "value" in after and after.split("mm")[0] != ""
        both = coloured()
        assert both > 100
        page.get_by_role("checkbox", name="spleen").uncheck()
        assert coloured() == 0  # the other label is not in this slice
        page.get_by_role("checkbox", name="spleen").check()
        page.keyboard.press("s")
        assert coloured() == 0
        page.keyboard.press("s")
        assert coloured() == both
        opacity = page.locator("#opacity")
        page.keyboard.press("a")
        assert float(opacity.input_value()) == pytest.approx(0.4)
        for _ in range(8):
            page.keyboard.press("d")
        assert float(opacity.input_value()) == 1
        filled = coloured()
        page.keyboard.press("o")
        assert page.locator("#outline").is_checked() and 0 < coloured() < filled
        page.get_by_role("button", name="bone").click()
        assert page.locator("#window [aria-pressed='true']").inner_text() == "bone"
        page.keyboard.press("r")
        assert page.locator("#window [aria-pressed='true']").inner_text() == "as found"
        # the network's log: this machine, this token
        assert {
            urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))
        } == {"127.0.0.1"}
        assert all(f"/{viewer.token}/" in url for url in asked if url.startswith("http"))


def test_a_fault_is_told_on_the_page(chromium: Any, tmp_path: Path) -> None:
    case = marked(tmp_path, "RAS")
    viewer = Viewer([case])
    Path(case.scan).unlink()
    thread = threading.Thread(target=viewer.serve, daemon=True)
    thread.start()
    page = chromium.new_page()
    try:
        page.goto(viewer.url)
        page.locator("body[data-ready='failed']").wait_for(timeout=_PATIENCE)
        assert "scan.nii.gz" in page.locator("#message").inner_text()
    finally:
        page.close()
        viewer.close()
        thread.join(20)


def test_a_button_of_a_page_leads_to_the_viewer_or_tells_the_command(
    chromium: Any, tmp_path: Path
) -> None:
    case = marked(tmp_path, "RAS")
    table = Table([Column("case"), Column("Dice")], [("marked", [Cell("1")])])
    table = Table(table.columns, table.rows, viewed=["marked"], folder="my run")
    report = tmp_path / "report.html"
    report.write_bytes(render(Page("A run", sections=[Section("Cases", [table])])))
    page = chromium.new_page()
    page.goto(report.as_uri())
    page.get_by_role("button", name="view marked").click()
    assert page.locator("dialog pre").inner_text() == "gridgate view 'my run' --case marked"
    page.get_by_role("button", name="Close").click()
    assert not page.locator("dialog").is_visible()
    viewer = Viewer([case], report=report)
    thread = threading.Thread(target=viewer.serve, daemon=True)
    thread.start()
    try:
        page.goto(viewer.url)
        page.get_by_role("button", name="view marked").click()
        page.locator("body[data-ready='true']").wait_for(timeout=_PATIENCE)
        assert urlsplit(page.url).query == "case=marked"
        assert thread.is_alive()
    finally:
        page.close()
        viewer.close()
        thread.join(20)
