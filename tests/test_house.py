"""The house: how long functions and how full folders are; configs name what is there."""

import ast
import importlib
import inspect
import pkgutil
import pydoc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import gridgate

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("data", "transforms", "networks", "pipeline")
LONGEST_FUNCTION = 60
FULLEST_FOLDER = 12
CONFIGS = sorted(
    path
    for path in (REPOSITORY / "bundles").glob("*/configs/*.yaml")
    if path.parts[-3] != "template"
)


def sources() -> Iterator[Path]:
    for room in (*ROOMS, "benchmarks", "gridgate"):
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            if not {"__pycache__"} & set(path.parts):
                yield path


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    tree = ast.parse(path.read_text())
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]
    assert not long, long


def folders() -> list[Path]:
    return sorted({path.parent for path in sources() if path.parts[-2] != "gridgate"})


@pytest.mark.parametrize("folder", folders(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_folder_is_a_heap(folder: Path) -> None:
    files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
    rooms = [path for path in folder.iterdir() if (path / "__init__.py").is_file()]
    assert len(files) <= FULLEST_FOLDER or rooms, f"{len(files)} files: {files}"


def test_no_package_gives_a_name_that_is_a_module_of_it_too() -> None:
    """Configs name what they want by its path: Python 3.12's pydoc.locate finds the module there.

    Python 3.11's found the function that the package gives.
    """
    twofold = []
    for module in pkgutil.walk_packages(gridgate.__path__, "gridgate."):
        if module.ispkg:
            package = importlib.import_module(module.name)
            for inside in pkgutil.iter_modules(package.__path__):
                given = getattr(package, inside.name, None)
                if given is not None and not inspect.ismodule(given):
                    twofold.append(f"{module.name}.{inside.name}")
    assert not twofold, twofold


@pytest.mark.parametrize("folder", folders(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_each_room_says_what_it_is(folder: Path) -> None:
    if "benchmarks" in folder.parts:
        return
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))


def targets(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(config.get("_target_"), str):
            yield config["_target_"]
        for value in config.values():
            yield from targets(value)
    elif isinstance(config, list):
        for value in config:
            yield from targets(value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parts[-3]}-{path.name}")
def test_configs_name_what_is_there(path: Path) -> None:
    named = {name for name in targets(yaml.safe_load(path.read_text())) if "gridgate" in name}
    assert named or path.name.startswith("multi")
    for name in sorted(named):
        assert callable(pydoc.locate(name)), name


TEXT_METHODS = ("read_text", "write_text")


def opened_as_text(call: ast.Call) -> bool:
    """Whether a call reads or writes text in whatever encoding the locale has."""
    function = call.func
    if any(word.arg in ("encoding", None) for word in call.keywords):
        return False
    if isinstance(function, ast.Attribute) and function.attr in TEXT_METHODS:
        return True
    if not (isinstance(function, ast.Name) and function.id == "open"):
        return False
    modes = [word.value for word in call.keywords if word.arg == "mode"] or call.args[1:2]
    return not any("b" in str(getattr(mode, "value", "b")) for mode in modes)


@pytest.mark.parametrize("source", ['open(p, newline="")', "p.read_text()", "open(p, 'w')"])
def test_what_is_opened_as_text(source: str) -> None:
    for text, found in ((source, True), (source[:-1] + ", encoding='utf-8')", False)):
        text = text.replace("(,", "(")
        assert opened_as_text(ast.parse(text, mode="eval").body) is found  # type: ignore[arg-type]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_text_is_read_and_written_in_an_encoding_that_is_named(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [call.lineno for call in calls if opened_as_text(call)]
    assert not found or "benchmarks" in path.parts, f"{path}: lines {found}"
