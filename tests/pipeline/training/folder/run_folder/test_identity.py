"""A training is resumed only as the run that its folder holds."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.dataset import Dataset, DatasetCase, load_dataset
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.pipeline.plans.plan import Plan, example_plan
from gridgate.pipeline.training.folder.run_folder import (
    check_unseen,
    close_run_folder,
    write_result,
)
from gridgate.pipeline.training.folder.run_record import (
    CHANGEABLE,
    changed_dataset,
    dataset_contents,
)
from gridgate.pipeline.training.run import prepare_training

from .runs import CONFIG, begin


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


@pytest.mark.parametrize("part", ["imagesTr", "labelsTr"])
def test_other_voxels_in_a_file_of_the_same_size_count(
    part: str, trained: Path, dataset: Path
) -> None:
    """A corrected label map, uncompressed, has the size it had."""
    file = dataset / part / "c3.nii"
    content = file.read_bytes()
    file.write_bytes(content[:-3] + b"\1" + content[-2:])
    with pytest.raises(ConfigError, match="case c3 has other voxels in files of the same sizes"):
        begin(trained, dataset, resume=True)
    file.write_bytes(content)
    begin(trained, dataset, resume=True)
    close_run_folder(trained)


def test_a_copied_dataset_is_the_same(trained: Path, dataset: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(dataset, tmp_path / "elsewhere"))
    os.utime(moved / "imagesTr" / "c0.nii", (1, 1))
    begin(trained, moved, resume=True)
    close_run_folder(trained)


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


def test_other_annotated_labels_are_another_training(tmp_path: Path) -> None:
    """What dataset.json declares as annotated changes the loss, though no file of a case does."""

    def contents(annotated: tuple[str, ...] | None) -> dict[str, Any]:
        case = DatasetCase("a", (tmp_path / "a.nii.gz",), None, annotated)
        labels = {"background": 0, "liver": 1, "spleen": 2}
        found = dataset_contents(Dataset(tmp_path, "D", labels, ("CT",), (case,), ()))
        return dict(json.loads(json.dumps(found)))

    assert changed_dataset(contents(None), contents(None)) == []
    (told,) = changed_dataset(contents(None), contents(("liver",)))
    assert "declared as annotated" in told
    earlier = contents(None)
    del earlier["annotated"], earlier["regions"]
    assert changed_dataset(earlier, contents(("liver",))) == []
