"""The output folder of a training: held by one run, and resumed only as the run that it holds."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.errors import ConfigError, DatasetError, OutputError
from gridgate.pipeline.plans.plan import Plan, example_plan
from gridgate.pipeline.training.run import prepare_training
from gridgate.pipeline.training.run_folder import (
    check_unseen,
    close_run_folder,
    is_free,
    open_run_folder,
    run_in_folder,
    write_result,
)
from gridgate.pipeline.training.run_record import CHANGEABLE, read_run

CONFIG: dict[str, Any] = {
    "learning_rate": 0.001,
    "spacing": [2.0, 2.0, 3.0],
    "train::loss::name": "dice_ce",
    "architecture::name": "unet",
    "epochs": 3,
    "patience": 0,
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset of six cases of a few voxels."""
    root = tmp_path / "D"
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    for index in range(6):
        shape = (4, 4, 4 + index)
        for part, kind in (("imagesTr", np.int16), ("labelsTr", np.uint8)):
            image = nib.Nifti1Image(np.zeros(shape, kind), np.eye(4))
            nib.save(image, root / part / f"c{index}.nii")
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": 6,
        "file_ending": ".nii",
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def begin(folder: Path, dataset: Path, settings: dict[str, Any] = CONFIG, **options: Any) -> None:
    open_run_folder(folder, dataset_dir=dataset, folds=3, settings=settings, **options)


@pytest.fixture
def trained(tmp_path: Path, dataset: Path) -> Path:
    """A folder with a training of CONFIG that has ended."""
    folder = tmp_path / "O"
    begin(folder, dataset)
    for name in ("last.pt", "models/model.pt", "metrics_train.csv"):
        write_result(folder, name, lambda stream: stream.write(b"content"))
    close_run_folder(folder)
    return folder


def names(folder: Path) -> list[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] != ".gridgate")


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


@pytest.mark.parametrize("name", CONFIG)
def test_each_setting_counts_but_those_that_may_change(
    trained: Path, dataset: Path, name: str
) -> None:
    other = {**CONFIG, name: "another"}
    if name in CHANGEABLE:
        begin(trained, dataset, other, resume=True)
        close_run_folder(trained)
        return
    before = (trained / "settings.json").read_bytes()
    with pytest.raises(ConfigError) as caught:
        begin(trained, dataset, other, resume=True)
    assert f'{name} was {json.dumps(CONFIG[name])} and is now "another"' in str(caught.value)
    assert str(caught.value).count(" and is now ") == 1
    assert (trained / "settings.json").read_bytes() == before


def test_settings_that_come_or_go_count(trained: Path, dataset: Path) -> None:
    more = {**CONFIG, "train::augmentation::scale": 2}
    with pytest.raises(ConfigError, match="train::augmentation::scale was not set and is now 2"):
        begin(trained, dataset, more, resume=True)
    fewer = {name: value for name, value in CONFIG.items() if name != "train::loss::name"}
    with pytest.raises(ConfigError, match='name was "dice_ce" and is now not set'):
        begin(trained, dataset, fewer, resume=True)


@pytest.mark.parametrize("split", [{"fold": 1}, {"split_seed": 4}])
def test_the_split_counts(trained: Path, dataset: Path, split: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(split))} was 0 and is now"):
        begin(trained, dataset, resume=True, **split)


def test_every_changed_setting_is_named(trained: Path, dataset: Path) -> None:
    other = {**CONFIG, "spacing": [1.0, 1.0, 1.0], "learning_rate": 0.01}
    with pytest.raises(ConfigError) as caught:
        begin(trained, dataset, other, resume=True)
    assert "spacing was [2.0, 2.0, 3.0] and is now [1.0, 1.0, 1.0]" in str(caught.value)
    assert "learning_rate was 0.001 and is now 0.01" in str(caught.value)


def test_the_datasets_cases_and_their_files_count(trained: Path, dataset: Path) -> None:
    def resume() -> None:
        begin(trained, dataset, resume=True)
        close_run_folder(trained)

    image = dataset / "imagesTr" / "c2.nii"
    content = image.read_bytes()
    image.write_bytes(content + bytes(8))
    with pytest.raises(ConfigError, match="case c2 has other files"):
        resume()
    image.write_bytes(content)
    resume()
    for part in ("imagesTr", "labelsTr"):
        shutil.copy(dataset / part / "c1.nii", dataset / part / "c9.nii")
    with pytest.raises(ConfigError, match="case c9 is new"):
        resume()
    for part in ("imagesTr", "labelsTr"):
        (dataset / part / "c9.nii").unlink()
        (dataset / part / "c0.nii").unlink()
    with pytest.raises((ConfigError, DatasetError), match="c0"):
        resume()


def test_a_copied_dataset_is_the_same(trained: Path, dataset: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(dataset, tmp_path / "elsewhere"))
    os.utime(moved / "imagesTr" / "c0.nii", (1, 1))
    begin(trained, moved, resume=True)
    close_run_folder(trained)


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


def test_a_training_of_an_earlier_version_goes_on(tmp_path: Path, dataset: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    settings = {"fold": 0, "folds": 3, "split_seed": 0, "seed": 0, "batch_size": 2}
    (old / "settings.json").write_text(json.dumps(settings))
    for name in ("last.pt", "model.pt", "metrics_train.csv"):
        (old / name).write_bytes(b"of before")
    now = {**CONFIG, "seed": 0, "batch_size": 2}
    with pytest.raises(ConfigError, match="batch_size was 2 and is now 4"):
        begin(old, dataset, {**now, "batch_size": 4}, resume=True)
    begin(old, dataset, now, resume=True)
    write_result(old, "last.pt", lambda stream: stream.write(b"more"))
    close_run_folder(old)
    assert (old / "models" / "model.pt").read_bytes() == b"of before"
    assert (old / "model.pt").read_bytes() == b"of before"


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
    from gridgate.pipeline.training.run_folder import open_run_folder, write_result
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


def test_unreadable_settings_are_named(trained: Path, dataset: Path) -> None:
    (trained / "settings.json").write_text("{")
    with pytest.raises(ConfigError, match=r"settings\.json: cannot be read"):
        begin(trained, dataset, resume=True)


def test_cases_that_were_trained_on_are_told_with_their_fold(trained: Path) -> None:
    splits = json.loads((trained / "splits.json").read_text())
    check_unseen(trained, splits[0]["validation" if "validation" in splits[0] else "val"])
    with pytest.raises(ConfigError, match=r"were trained on.*--splits .*splits\.json --fold 0"):
        check_unseen(trained, splits[0]["train"][:2])
    check_unseen(trained / "nowhere", ["c1"])


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


@pytest.mark.parametrize(("name", "now"), [("ignore", 9), ("channels", ["MR"])])
def test_what_else_dataset_json_says_counts(
    name: str, now: object, trained: Path, dataset: Path
) -> None:
    content = json.loads((dataset / "dataset.json").read_text())
    if name == "ignore":
        content["labels"]["ignore"] = now
    else:
        content["channel_names"] = {"0": "MR"}
    (dataset / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=f"dataset's {name} were"):
        begin(trained, dataset, resume=True)


def test_the_number_of_processes_counts(trained: Path, dataset: Path) -> None:
    # they share an epoch's windows, so that another number draws others
    plan = Plan.from_dict(example_plan() | {"labels": ["background", "organ"]})
    folder = trained.parent / "several"
    options: dict[str, Any] = {"dataset_dir": dataset, "output_dir": folder, "bundle_root": folder}
    options |= {"fold": 0, "folds": 3, "split_seed": 0, "rank": 0, "settings": CONFIG}
    prepare_training(plan, **options, world_size=2, resume=False)
    write_result(folder, "last.pt", lambda stream: stream.write(b"content"))
    close_run_folder(folder)
    with pytest.raises(ConfigError, match="world_size was 2 and is now 4"):
        prepare_training(plan, **options, world_size=4, resume=True)
    prepare_training(plan, **options, world_size=2, resume=True)
    close_run_folder(folder)


def test_folds_of_a_file_count_by_what_it_holds(dataset: Path, tmp_path: Path) -> None:
    ids = [case.id for case in load_dataset(dataset).cases]
    chosen, folder = tmp_path / "splits_final.json", tmp_path / "O"
    chosen.write_text(json.dumps([{"train": ids[:-1], "val": ids[-1:]}]))
    begin(folder, dataset, fold=0, splits=chosen)
    (folder / "last.pt").write_bytes(b"")
    close_run_folder(folder)
    moved = chosen.rename(tmp_path / "moved.json")
    begin(folder, dataset, fold=0, splits=moved, resume=True)  # the same, elsewhere
    close_run_folder(folder)
    begin(folder, dataset, fold=0, splits=folder / "splits.json", resume=True)  # as it was kept
    close_run_folder(folder)
    moved.write_text(json.dumps([{"train": ids[1:], "val": ids[:1]}]))
    with pytest.raises(DatasetError, match="holds other folds than this run's"):
        begin(folder, dataset, fold=0, splits=moved, resume=True)
    with pytest.raises(DatasetError, match="holds other folds"):
        begin(folder, dataset, fold=0, resume=True)
