"""Nothing is required that no code imports, and nothing is imported that is not required."""

import ast
import configparser
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("data", "transforms", "networks", "pipeline", "gridgate")
MODULES = {"pytorch-ignite": "ignite", "pyyaml": "yaml", "Jinja2": "jinja2"}
THROUGH_OTHERS = {  # requirement -> who imports it
    "fire": "python -m monai.bundle",
    "einops": "monai.networks.nets",
    "tensorboard": "torch.utils.tensorboard",
}
# extras; code asks first
ONLY_WHERE_THERE = {
    *("argcomplete", "nncf", "onnx", "onnxruntime", "onnxscript", "openvino"),
    *("scikit_posthocs", "pandas"),
}


def requirements() -> set[str]:
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].strip().splitlines()
    return {re.split(r"[<>=;\s]", line.strip())[0] for line in lines}


def imported() -> set[str]:
    found = set()
    for room in ROOMS:
        for path in (REPOSITORY / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    found.add(str(node.module).partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"gridgate"}


def test_each_requirement_is_imported() -> None:
    modules = {MODULES.get(name, name) for name in requirements() - set(THROUGH_OTHERS)}
    assert modules - imported() == set()


def test_each_import_is_required() -> None:
    modules = {MODULES.get(name, name) for name in requirements()}
    assert imported() - modules - ONLY_WHERE_THERE == set()
