"""The package as it is installed: from a wheel, and in place (pip install -e)."""

import importlib.metadata
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
ROOMS = ("data", "transforms", "networks", "pipeline", "bundles")
WEIGHTS = "phantom_attention_unet/models/model.pt"  # put there, whether bundles have some or not
NOT_SHIPPED = ignore_patterns("__pycache__", ".*")

# Where an interpreter finds the rooms or, asked to "import", where what it imports lies.
WHERE = """
import importlib.resources, importlib.util, json, sys
rooms = sys.argv[2:]
if sys.argv[1] == "import":
    for room in rooms:
        importlib.import_module(f"gridgate.{room}")
print(json.dumps({
    "rooms": {room: importlib.util.find_spec(f"gridgate.{room}").origin for room in rooms},
    "module": importlib.import_module("gridgate.data.geometry.grids").__file__,
    "resources": str(importlib.resources.files("gridgate.bundles")),
    "package": sys.modules["gridgate"].__file__,
    "shadowed": sorted({*rooms, "tests"} & set(sys.modules)),
}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command; its whole output is in the failure's text."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def where(python: str | Path, cwd: Path, *, imported: bool) -> dict[str, Any]:
    """What WHERE prints. Importing all rooms takes seconds, so only the tests that need it do."""
    what = "import" if imported else "find"
    return json.loads(run(python, "-c", WHERE, what, *ROOMS, cwd=cwd).splitlines()[-1])


def files(folder: Path) -> set[str]:
    """Paths below a folder, relative to it, without what Python or an editor leaves there."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        str(path)
        for path in found
        if not any(part == "__pycache__" or part[0] == "." for part in path.parts)
    }


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The Python and the site-packages of an empty environment that got the project's wheel."""
    work = tmp_path_factory.mktemp("install")
    source = (
        work / "source"
    )  # a copy: what an earlier build left in ./build would slip into the wheel
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        if (REPOSITORY / name).exists():
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    (source / "gridgate").mkdir()
    for file in REPOSITORY.glob(
        "gridgate/*.*"
    ):  # not its links to the rooms, which some systems lack
        (source / "gridgate" / file.name).write_bytes(file.read_bytes())
    for room in ROOMS:
        copytree(REPOSITORY / room, source / room, ignore=NOT_SHIPPED)
    (source / "bundles" / WEIGHTS).parent.mkdir(exist_ok=True)
    (source / "bundles" / WEIGHTS).write_bytes(b"weights")
    # not isolated: an isolated build would fetch setuptools, and tests need no network
    run(
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        work,
        source,
        cwd=work,
    )
    (wheel,) = work.glob("gridgate-*.whl")

    environment = work / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    command = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    )
    run(*command, wheel, cwd=work)
    # The dependencies are this environment's, seen through a .pth, not two more gigabytes. The
    # import hook of an editable install stays behind: it hangs on a .pth, which Python reads in its
    # own site-packages alone.
    site_packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, site_packages


def test_the_wheel_imports_from_any_folder(installed: tuple[Path, Path], tmp_path: Path) -> None:
    python, site_packages = installed
    found = where(python, tmp_path, imported=True)
    assert {room: Path(file) for room, file in found["rooms"].items()} == {
        room: site_packages / "gridgate" / room / "__init__.py" for room in ROOMS
    }
    assert Path(found["resources"]) == site_packages / "gridgate" / "bundles"
    assert Path(found["package"]) == site_packages / "gridgate" / "__init__.py"
    assert (site_packages / "gridgate" / "py.typed").is_file()


@pytest.mark.parametrize("room", ROOMS)
def test_the_wheel_carries_every_file_of_a_room(installed: tuple[Path, Path], room: str) -> None:
    _, site_packages = installed
    planted = {WEIGHTS} if room == "bundles" else set()
    assert files(site_packages / "gridgate" / room) == files(REPOSITORY / room) | planted


def test_the_wheel_puts_one_name_on_a_machine(installed: tuple[Path, Path]) -> None:
    _, site_packages = installed
    (metadata,) = site_packages.glob("gridgate-*.dist-info")
    recorded = {line.split(",")[0] for line in (metadata / "RECORD").read_text().splitlines()}
    assert {path.split("/")[0] for path in recorded} == {"gridgate", metadata.name, ".."}
    assert [path for path in recorded if path.startswith("..")] == ["../../../bin/gridgate"]
    assert (metadata / "licenses" / "LICENSE").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()
    assert (metadata / "licenses" / "NOTICE").read_bytes() == (REPOSITORY / "NOTICE").read_bytes()


def test_the_command_starts(installed: tuple[Path, Path], tmp_path: Path) -> None:
    python, _ = installed
    assert "gridgate" in run(python.with_name("gridgate"), "--help", cwd=tmp_path)


def in_place() -> bool:
    """Whether gridgate is installed editable where the tests run."""
    try:
        direct = importlib.metadata.distribution("gridgate").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return False
    return bool(direct and json.loads(direct).get("dir_info", {}).get("editable"))


@pytest.mark.skipif(not in_place(), reason="gridgate is not installed with pip install -e here")
@pytest.mark.parametrize(
    "place", ["elsewhere", "repository", "a folder that holds one named gridgate"]
)
def test_an_editable_install_is_the_checkout(place: str, tmp_path: Path) -> None:
    # The last: a folder of that name without __init__.py must hide nothing.
    if place.endswith("gridgate"):
        (tmp_path / "gridgate").mkdir()
    repository = place == "repository"
    found = where(sys.executable, REPOSITORY if repository else tmp_path, imported=repository)
    assert {room: Path(file).resolve() for room, file in found["rooms"].items()} == {
        room: REPOSITORY / room / "__init__.py" for room in ROOMS
    }
    assert Path(found["module"]).resolve() == REPOSITORY / "data" / "geometry" / "grids.py"
    assert Path(found["resources"]).resolve() == REPOSITORY / "bundles"
    # python -c puts the working directory on sys.path: in the checkout, `import data` would find a
    # room
    assert found["shadowed"] == []
