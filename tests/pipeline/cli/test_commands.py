"""The `gridgate` commands: what each prints, writes, and refuses."""

import re
from pathlib import Path

import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.errors import ConfigError
from gridgate.pipeline.cli.commands.catalogues import bundles
from gridgate.pipeline.cli.main import COMMANDS, main
from gridgate.pipeline.plans.bundle_folders import bundle_path, shipped_bundles
from gridgate.pipeline.plans.planning import FOLDER

pytestmark = pytest.mark.usefixtures("elsewhere")
NAMES = [path.stem for path in sorted((FOLDER / "plans").glob("*.yaml"))]


def test_bundles_lists_each_with_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(len(line.split()) > 5 for line in lines)


def test_copy_makes_a_whole_bundle_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles", "--copy", NAMES[0]]) == 0
    assert capsys.readouterr().out == f"{NAMES[0]}\n"
    copied, source = tmp_path / NAMES[0], FOLDER / NAMES[0]
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    assert {path.relative_to(copied) for path in copied.rglob("*") if path.is_file()} == files
    assert all((copied / file).read_bytes() == (source / file).read_bytes() for file in files)

    (copied / "configs" / "train.yaml").write_text("mine")
    assert main(["bundles", "--copy", NAMES[0]]) == 1
    assert f"{NAMES[0]} exists already" in capsys.readouterr().err
    assert (copied / "configs" / "train.yaml").read_text() == "mine"
    # a copy is a bundle, by its path
    assert main(["bundles", "--copy", str(copied), "--to", str(tmp_path / "second")]) == 0
    assert (tmp_path / "second" / "configs" / "train.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ["bundles", "--copy", "nothing"],
        ["train", "nothing", "D", "O"],
        ["infer", "nothing", "S", "O"],
    ],
)
def test_an_unknown_bundle_names_those_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: nothing: no such bundle")
    assert all(name in error for name in NAMES)
    assert error.count("\n") == 1


def test_bundle_path_knows_names_and_copies(tmp_path: Path) -> None:
    assert bundle_path(NAMES[0]).resolve() == FOLDER / NAMES[0]
    assert [path.name for path in shipped_bundles()] == NAMES
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty"):
        bundle_path(tmp_path / "empty")


def test_phantom_writes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", "D", "--cases", "1", "--seed", "7"]) == 0
    assert capsys.readouterr().out == "D\n"
    dataset = load_dataset(tmp_path / "D")
    assert [case.id for case in dataset.cases] == ["phantom_000"]
    assert dataset.cases[0].label == tmp_path / "D" / "labelsTr" / "phantom_000.nii.gz"
    assert main(["phantom", "D", "--cases", "2"]) == 1
    assert main(["phantom", "E", "--cases", "0"]) == 1


def test_export_wants_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", NAMES[0], "missing.pt", "model.ts"]) == 1
    assert capsys.readouterr().err.startswith("error: missing.pt: there is no such checkpoint")


def test_each_command_is_a_file_and_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    files_of = Path(bundles.__file__).parents[1].rglob("*.py")
    modules = {path.stem for path in files_of} - {"__init__"}
    files = {name.removesuffix("_") for name in modules}  # import_: Python keeps the word itself
    assert {name.replace("-", "_") for name in COMMANDS} == files
    assert all(re.search(rf"\n    {name}\s+\w+", shown) for name in COMMANDS)


def test_networks_tells_which_windows_fit_and_fails_when_all_do(
    capsys: pytest.CaptureFixture,
) -> None:
    assert main(["networks", "DynUNet", "--window", "50", "--no-measure"]) == 1
    told = capsys.readouterr()
    assert (
        "the window is no multiple of 32 32 32" in told.out
        and "no network could be counted" in told.err
    )
    assert main(["networks", "DynUNet", "unet", "--window", "50", "--no-measure"]) == 0
