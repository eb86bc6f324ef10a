"""The output folder of a training is held by one run, and holds others' files unharmed."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gridgate.data.errors import ConfigError, OutputError
from gridgate.pipeline.training.folder.run_folder import (
    close_run_folder,
    is_free,
    run_in_folder,
    write_result,
)
from gridgate.pipeline.training.folder.run_record import read_run

from .runs import CONFIG, begin, names


def test_a_run_leaves_its_settings_its_dataset_and_its_splits(
    tmp_path: Path, dataset: Path
) -> None:
    begin(tmp_path / "other", dataset, rank=1)
    assert not (tmp_path / "other").exists(), "the first process writes, the others do not"
    begin(tmp_path / "O", dataset, fold=1)
    close_run_folder(tmp_path / "O")
    assert names(tmp_path / "O") == ["settings.json", "splits.json"]
    run = read_run(tmp_path / "O")
    assert run is not None
    assert run.settings == {"fold": 1, "folds": 3, "split_seed": 0, **CONFIG}
    sizes = [
        [(dataset / part / f"c{k}.nii").stat().st_size for part in ("imagesTr", "labelsTr")]
        for k in range(6)
    ]
    assert run.dataset["cases"] == {f"c{k}": sizes[k] for k in range(6)}
    assert not (dataset / "splits.json").exists(), "the dataset's folder is the user's"


def test_an_earlier_training_is_kept(trained: Path, dataset: Path) -> None:
    before = names(trained)
    with pytest.raises(ConfigError, match="holds a training already; add --resume True"):
        begin(trained, dataset)
    assert names(trained) == before
    begin(trained, dataset, resume=True)
    close_run_folder(trained)
    assert names(trained) == before


def test_a_training_that_ended_before_its_first_epoch_is_begun_anew(
    tmp_path: Path, dataset: Path
) -> None:
    begin(tmp_path / "O", dataset)
    close_run_folder(tmp_path / "O")
    begin(tmp_path / "O", dataset, {**CONFIG, "learning_rate": 0.1})
    close_run_folder(tmp_path / "O")
    run = read_run(tmp_path / "O")
    assert run is not None and run.settings["learning_rate"] == 0.1


def test_a_copied_training_goes_on_and_stays_writable(
    trained: Path, dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in names(trained):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_bytes((trained / name).read_bytes())
    begin(copy, dataset, resume=True)
    for name in ("last.pt", "models/model.pt", "metrics_train.csv"):
        write_result(copy, name, lambda stream: stream.write(b"more"))
    close_run_folder(copy)
    assert (copy / "last.pt").read_bytes() == b"more"


@pytest.mark.parametrize("name", ["models/model.pt", "settings.json", "metrics_train.csv"])
def test_files_of_others_are_refused_before_anything_is_written(
    tmp_path: Path, dataset: Path, name: str
) -> None:
    folder = tmp_path / "O"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("{}")
    with pytest.raises(OutputError, match="not written by Gridgate"):
        begin(folder, dataset)
    assert names(folder) == [name] and (folder / name).read_text() == "{}"
    (folder / name).unlink()
    begin(folder, dataset)  # and the folder is free again
    close_run_folder(folder)


def test_a_table_that_someone_opens_and_saves_does_not_end_the_training(
    tmp_path: Path, dataset: Path
) -> None:
    begin(tmp_path / "O", dataset)
    for content in (b"one", b"two"):
        write_result(tmp_path / "O", "metrics_train.csv", lambda s, c=content: s.write(c))
        (tmp_path / "O" / "metrics_train.csv").write_bytes(content + b" and a note")
    write_result(tmp_path / "O", "metrics_train.csv", lambda stream: stream.write(b"three"))
    close_run_folder(tmp_path / "O")
    assert (tmp_path / "O" / "metrics_train.csv").read_bytes() == b"three"


HOLD = """
    import sys, time
    from gridgate.pipeline.training.folder.run_folder import open_run_folder, write_result
    open_run_folder(sys.argv[1], dataset_dir=sys.argv[2], folds=3)
    def half(stream):
        stream.write(b"half")
        stream.flush()
        print("writing", flush=True)
        time.sleep(60)
    write_result(sys.argv[1], "last.pt", half)
"""


def test_two_trainings_in_one_folder_and_what_a_killed_one_leaves(
    tmp_path: Path, dataset: Path
) -> None:
    folder = tmp_path / "O"
    command = [sys.executable, "-c", textwrap.dedent(HOLD), str(folder), str(dataset)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "writing\n"
        before = sorted(path.name for path in folder.iterdir())
        for resume in (False, True):
            with pytest.raises(ConfigError, match="another run is writing there"):
                begin(folder, dataset, resume=resume)
        assert sorted(path.name for path in folder.iterdir()) == before
        other.kill()
    half = [path for path in folder.iterdir() if path.name.startswith(".last.pt")]
    assert len(half) == 1 and half[0].read_bytes() == b"half"
    # what versions before left, and files of others with names alike
    for name in (".model.pt.4711.part", ".last.pt.12.part", ".metrics_train.csv.part"):
        (folder / name).write_bytes(b"x")
    kept = [".notes.part", "model.pt.4711.part", ".model.pt.x.part", ".movie.partial"]
    for name in kept:
        (folder / name).write_bytes(b"x")
    begin(folder, dataset)
    close_run_folder(folder)
    assert names(folder) == sorted([*kept, "settings.json", "splits.json"])


def test_two_trainings_in_one_process(tmp_path: Path, dataset: Path) -> None:
    folder = tmp_path / "O"
    begin(folder, dataset)
    begin(folder, dataset)  # the first failed before it began: the folder is free

    class Trainer:
        def run(self) -> None:
            with pytest.raises(ConfigError, match="another run is writing there"):
                begin(folder, dataset)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_folder(Trainer(), folder)  # type: ignore[arg-type]
    begin(folder, dataset)
    close_run_folder(folder)


def test_what_a_person_changed_after_the_training_is_theirs(trained: Path, dataset: Path) -> None:
    path = trained / "configs" / "inference.yaml"
    begin(trained, dataset, resume=True)
    write_result(trained, "configs/inference.yaml", lambda stream: stream.write(b"ours"))
    write_result(trained, "configs/inference.yaml", lambda stream: stream.write(b"ours again"))
    assert is_free(trained, "configs/inference.yaml")
    close_run_folder(trained)
    path.write_text("a person's own")
    begin(trained, dataset, resume=True)
    assert not is_free(trained, "configs/inference.yaml")
    with pytest.raises(OutputError, match="changed since"):
        write_result(trained, "configs/inference.yaml", lambda stream: stream.write(b"ours"))
    close_run_folder(trained)
    assert path.read_text() == "a person's own"


def test_files_that_the_training_will_write_are_looked_at_first(
    tmp_path: Path, dataset: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "README.md").write_text("mine")
    with pytest.raises(OutputError, match="README"):
        begin(folder, dataset, more_results=["configs/train.yaml", "docs/README.md"])
    assert names(folder) == ["docs/README.md"]
