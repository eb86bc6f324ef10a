"""The room's names are there when they are asked for, and cost nothing before."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import gridgate.transforms as room


def test_names_come_from_the_modules_that_type_checkers_see() -> None:
    tree = ast.parse(Path(str(room.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert sorted(seen) == sorted(room.__all__)
    for name, module in seen.items():
        assert getattr(room, name) is getattr(import_module(f"gridgate.transforms.{module}"), name)
    assert set(room.__all__) <= set(dir(room))
    with pytest.raises(AttributeError, match="no attribute 'preprocesing'"):
        room.preprocesing  # noqa: B018  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "module",
    [
        "gridgate.transforms",
        "gridgate.pipeline.plans.plan",
        "gridgate.pipeline.batch.results.case_result",
        "gridgate.pipeline.batch.workers.main",
        "gridgate.pipeline.batch.workers.pool",
    ],
)
def test_plans_results_and_workers_begin_without_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'monai', 'ignite'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
