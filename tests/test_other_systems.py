"""Windows and macOS lack parts of Python's library that Linux has: nothing here may need them.

Nothing may fail at import without them, and what is used in a function is asked for first.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("gridgate", "data", "transforms", "networks", "pipeline")

MODULES = {
    "windows": ["fcntl", "resource", "pwd", "grp", "termios", "pty"],
    "macos": [],
}
NAMES = {
    "windows": {
        "os": [
            *("sched_getaffinity", "getuid", "geteuid", "getgid", "fork", "sysconf", "mkfifo"),
            *("wait4", "waitid", "killpg", "getpgid", "setsid", "nice", "statvfs", "chown"),
            *("O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "WNOHANG", "register_at_fork"),
        ],
        "signal": ["SIGKILL", "SIGHUP", "SIGPIPE", "SIGALRM", "SIGUSR1", "setitimer", "alarm"],
        "socket": ["AF_UNIX"],
    },
    "macos": {"os": ["sched_getaffinity", "sched_setaffinity", "posix_fadvise", "memfd_create"]},
}

# What still fails: reasons, and files. Strict: what is mended must leave the lists.
IMPORT_ALL = """
import importlib, json, os, pkgutil, signal, socket, sys
modules, names = json.loads(sys.argv[1]), json.loads(sys.argv[2])
# what is not ours first: whether it runs elsewhere is its authors' matter
import fire, highdicom, ignite.handlers, jinja2, matplotlib.figure, monai.bundle, monai.data
import monai.handlers, monai.networks.nets, nibabel, pydicom, scipy.sparse.csgraph, SimpleITK
import multiprocessing, subprocess, tempfile, tensorboard, torch.distributed, torch.onnx
import torch.utils.data, torch.utils.flop_counter, torch.utils.tensorboard, tqdm
import filelock
for name in modules:
    sys.modules[name] = None
for module, attributes in names.items():
    for name in attributes:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
import gridgate
failed = {}
for found in pkgutil.walk_packages(gridgate.__path__, "gridgate.", onerror=lambda name: None):
    if not found.name.endswith("__main__"):
        try:
            importlib.import_module(found.name)
        except Exception as error:
            failed[found.name] = f"{type(error).__name__}: {error}"
print("FAILED" + json.dumps(failed))
"""


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_every_module_is_imported_without_what_the_system_lacks(system: str) -> None:
    words = [json.dumps(MODULES[system]), json.dumps(NAMES[system])]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *words], capture_output=True, text=True, cwd=ROOT
    )
    assert "FAILED" in done.stdout, done.stderr
    failed = json.loads(done.stdout.rpartition("FAILED")[2])
    assert failed == {}


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def lacking() -> dict[str, set[str]]:
    """Module -> the names in it that some system lacks."""
    found: dict[str, set[str]] = {}
    for system in NAMES.values():
        for module, names in system.items():
            found.setdefault(module, set()).update(names)
    return found


def used_unasked(path: Path) -> list[str]:
    """Uses of such names where nothing around them asks whether they are there."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), []
    around: dict[ast.AST, ast.AST] = {
        child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            continue
        if node.attr not in lacking().get(node.value.id, ()):
            continue
        outer: ast.AST = node
        while not isinstance(outer, ast.FunctionDef | ast.Module):
            outer = around[outer]
        text = ast.unparse(outer)
        if f"'{node.attr}')" not in text and "AttributeError" not in text:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.value.id}.{node.attr}")
    return found


def test_what_a_system_lacks_is_asked_for_before_it_is_used() -> None:
    found = [one for path in sources() for one in used_unasked(path)]
    assert found == []


def test_the_search_finds_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "a.py"
    path.write_text("import os\n\ndef f():\n    return os.getuid()\n")
    assert used_unasked(path) == ["a.py:4 os.getuid"]
    path.write_text(
        "import os\n\ndef f():\n    return os.getuid() if hasattr(os, 'getuid') else 0\n"
    )
    assert used_unasked(path) == []
