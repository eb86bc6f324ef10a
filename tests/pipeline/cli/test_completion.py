"""Completion: bundles, settings and files, through argcomplete and as the completers give them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gridgate.pipeline.cli.completion import add_settings, bundle_names, commands_of, files
from gridgate.pipeline.cli.main import main, parser
from gridgate.pipeline.plans.bundle_folders import shipped_bundles

pytestmark = pytest.mark.usefixtures("elsewhere")


def completed(line: str, tmp_path: Path) -> list[str]:
    """What argcomplete offers a shell for a line that is being typed."""
    pytest.importorskip("argcomplete")
    answer = tmp_path / ".answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    code = "import sys; from gridgate.pipeline.cli.main import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=tmp_path)
    return [word.strip() for word in answer.read_text().split("\n")]


def test_a_shell_gets_bundles_settings_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    assert "infer" in completed("gridgate inf", tmp_path)
    names = completed("gridgate infer msd_hippocampus_", tmp_path)
    assert {"msd_hippocampus_unetpp", "msd_hippocampus_transfuse"} <= set(names)
    names = completed("gridgate infer phantom_attention_unet --mir", tmp_path)
    assert names == ["--mirror_axes"]
    assert completed("gridgate train --resume T", tmp_path) == ["True"]
    assert completed("gridgate infer phantom_attention_unet --amp False sc", tmp_path) == ["scans/"]


def test_a_command_offers_the_settings_of_its_own_workflow() -> None:
    commands = commands_of(parser())
    for name in ("infer", "train", "evaluate", "export", "phantom"):
        add_settings(commands[name])
    options = {name: set(command._option_string_actions) for name, command in commands.items()}
    assert "--mirror_axes" in options["infer"] and "--fold" not in options["infer"]
    assert {"--fold", "--epochs", "--splits"} <= options["train"]
    assert "--checkpoint" not in options["train"] and "--checkpoint" in options["evaluate"]
    device = commands["infer"]._option_string_actions["--device"].completer  # type: ignore[attr-defined]
    assert device("cu") == ["cuda"]


def test_files_and_bundles(tmp_path: Path) -> None:
    for name in ("scans/a.nii.gz", "scans/sub/b.nii.gz", ".hidden/c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files("sc") == ["scans/"]
    assert files("scans/") == ["scans/a.nii.gz", "scans/sub/"]
    assert files(f"{tmp_path}/scans/s") == [f"{tmp_path}/scans/sub/"]
    assert files("") == ["scans/"] and files(".h") == [".hidden/"] and files("no/where") == []
    assert set(bundle_names("")) == {"scans/", *(path.name for path in shipped_bundles())}


def test_without_argcomplete_a_command_line_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    monkeypatch.setenv("_ARGCOMPLETE", "1")
    assert main(["bundles"]) == 0
    assert "phantom_attention_unet" in capsys.readouterr().out
