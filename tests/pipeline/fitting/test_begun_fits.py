"""What a fit asks of trainings, what they say of going on, and a fit that was killed at once."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.files import temporary_name
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.fitting import fit as fitting
from gridgate.pipeline.training.folder.saving import Checkpoints
from gridgate.pipeline.training.told import go_on

from .quick_fits import WORDS, known_steps


@pytest.fixture(autouse=True)
def quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    known_steps(monkeypatch)


def test_a_fit_killed_in_its_first_write_begins_again(
    coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*words: Any) -> None:
        raise Killed

    folder = tmp_path / "O"
    folder.mkdir()
    half = folder / temporary_name("fit.json")
    half.write_text('{"format": 1, "as')
    monkeypatch.setattr(fitting, "check_soundness", kill)
    with pytest.raises(Killed):  # it has begun
        main(["fit", str(coarse_dataset), str(folder), *WORDS])
    assert not half.exists() and (folder / "fit.json").is_file()


def test_pages_of_a_fold_say_how_a_fit_goes_on(
    coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`gridgate fit` takes no --resume: the advice of a training by itself would be refused."""
    folder, pages = tmp_path / "O", []

    def stop(engine: Any) -> None:
        training = folder / "runs" / "attention_unet" / "fold_0"
        pages.append((training / "docs" / "README.md").read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "_save", lambda _, engine: stop(engine))
    assert main(["fit", str(coarse_dataset), str(folder), *WORDS]) == 130
    pages.append((folder / "runs" / "attention_unet" / "fold_0" / "report.html").read_text())
    for page in pages:
        assert "the same command goes on with it" in page
        assert "with --resume True goes on" not in page
    assert go_on() == "the same command with --resume True goes on with it", "of others as before"


def test_no_held_out_case_ends_a_training_whatever_a_plan_says(
    fitted: Path, coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "edited"
    shutil.copytree(fitted / "runs" / "attention_unet" / "bundle", bundle)
    config = bundle / "configs" / "train.yaml"
    text = config.read_text()
    assert "\npatience: 0" in text
    config.write_text(text.replace("\npatience: 0", "\npatience: 1"))
    asked: list[dict[str, Any]] = []

    def train(*words: Any) -> None:
        asked.append(words[-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "train", train)
    words = ["fit", str(coarse_dataset), str(tmp_path / "O"), "--plans", str(bundle)]
    assert main([*words, "--folds", "2", "--iterations", "3"]) == 130
    assert asked[0]["patience"] == 0 and asked[0]["keep"] == "last"
