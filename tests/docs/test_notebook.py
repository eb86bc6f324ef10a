"""The notebook runs from top to bottom, and shows what it says; here without a kernel."""

import ast
import csv
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridgate.data.images.reading import read_labels

from .documents import DOCS

NOTEBOOK = DOCS / "notebooks" / "phantom_to_mask.ipynb"


def code_cells() -> list[str]:
    content = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a kernel does: the value of its last expression is what it shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, str(NOTEBOOK), "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)  # type: ignore[attr-defined]


def test_the_notebook_is_valid() -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is of the extra docs")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))


def test_the_committed_outputs_are_whole() -> None:
    content = json.loads(NOTEBOOK.read_text())
    outputs = [out for cell in content["cells"] for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out["output_type"] == "error"]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert len(pictures) == 2
    assert NOTEBOOK.stat().st_size < 600_000
    shown = json.dumps(outputs)
    own = (NOTEBOOK.parents[2].resolve(), Path.home(), Path(tempfile.gettempdir()))
    for folder in (path for path in own if len(path.parts) > 1):
        assert f"{folder}/" not in shown, "paths of the machine that it ran on"


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    try:
        shown = [run_cell(source, names) for source in code_cells()]
    finally:
        logging.disable(logging.NOTSET)  # the notebook turns the libraries' lines off
    pictures = [one._repr_png_() for one in shown if hasattr(one, "_repr_png_")]
    assert len(pictures) == 2
    assert all(picture.startswith(b"\x89PNG\r\n\x1a\n") for picture in pictures)

    mask, truth = read_labels(names["mask"]), read_labels(names["truth"])
    assert mask.array.shape == truth.array.shape
    np.testing.assert_allclose(mask.grid.affine, truth.grid.affine)
    liver = [one.array == names["labels"].index("liver") for one in (mask, truth)]
    dice = 2 * (liver[0] & liver[1]).sum() / (liver[0].sum() + liver[1].sum())
    assert dice > 0.4  # far above chance after seconds of training
    with open(names["work"] / "masks" / "cases.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "ok"


@pytest.mark.slow
def test_the_notebook_runs_in_a_kernel() -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is of the extra docs")
    pytest.importorskip("ipykernel", reason="ipykernel is of the extra docs")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is of the extra docs")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300).execute()
