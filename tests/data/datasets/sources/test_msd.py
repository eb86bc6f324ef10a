"""The Decathlon's archives: downloaded by ranges, verified, and unpacked without trusting them."""

import importlib.util
import json
from pathlib import Path

import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources import msd, msd_tasks
from gridgate.data.errors import ConfigError, DatasetError

from .archives import TASK, Server, contents, files_of, md5, nifti_bytes, run_import, tar_of


def test_a_task_comes_from_its_address_to_a_dataset(server: Server, tmp_path: Path) -> None:
    assert run_import(server, tmp_path / "D") == 0
    dataset = load_dataset(tmp_path / "D")
    assert [case.id for case in dataset.cases] == ["spleen_10", "spleen_2"]
    assert [case.id for case in dataset.test_cases] == ["spleen_1"]
    assert dataset.labels == {"background": 0, "spleen": 1}
    assert dataset.channel_names == ("CT",)
    assert (tmp_path / "D/imagesTr/spleen_2.nii").read_bytes() == nifti_bytes(2)
    record = json.loads((tmp_path / "D/import.json").read_text())
    assert record["checksum"] == f"md5:{md5(server.content)}"
    assert record["licence"] == "CC-BY-SA 4.0"
    assert record["origin"] == f"{server.address}/{TASK}.tar"
    assert not list((tmp_path / "D").rglob("*.tar*"))
    assert not list((tmp_path / "D").rglob("._*"))


def test_a_second_import_asks_for_nothing(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_import(server, tmp_path / "D")
    before, asked = files_of(tmp_path / "D"), len(server.ranges)
    assert run_import(server, tmp_path / "D") == 0
    assert files_of(tmp_path / "D") == before
    assert len(server.ranges) == asked
    assert "nothing to do" in capsys.readouterr().out


def test_nothing_is_downloaded_into_another_dataset(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(msd.tar_source(tar_of(tmp_path / "other.tar")), tmp_path / "D")
    before = files_of(tmp_path / "D")
    assert run_import(server, tmp_path / "D") == 1
    assert "holds the import of" in capsys.readouterr().err
    assert server.ranges == []
    assert files_of(tmp_path / "D") == before


@pytest.mark.parametrize("lost", ["imagesTr/spleen_2.nii", "labelsTr/spleen_2.nii"])
def test_a_missing_pair_is_named(tmp_path: Path, lost: str) -> None:
    files = {name: data for name, data in contents().items() if name != lost}
    with pytest.raises(DatasetError, match=f"lists ./{lost}, which is not in the archive"):
        msd.tar_source(tar_of(tmp_path / "x.tar", files))


def test_ones_own_tar_is_imported_and_told_from_the_published_one(tmp_path: Path) -> None:
    path = tar_of(tmp_path / f"{TASK}.tar")
    before = path.read_bytes()
    source = msd.tar_source(path)
    assert any("not the published archive" in note for note in source.notes)
    assert any("1 files of macOS" in note for note in source.notes)
    write_dataset(source, tmp_path / "D")
    done = write_dataset(msd.tar_source(path), tmp_path / "D")
    assert (done.cases, done.tests, done.changed) == (2, 1, False)
    assert path.read_bytes() == before


def test_the_tasks_by_name() -> None:
    assert [
        msd_tasks.task_named(word).name for word in ("9", "spleen", "task09_spleen", "Task09")
    ] == ([TASK] * 4)
    assert len(msd_tasks.TASKS) == 10
    with pytest.raises(ConfigError, match=r"Task01_BrainTumour .*FLAIR, T1w, t1gd, T2w"):
        msd_tasks.task_named("Task11_Toe")


def test_the_checksums_are_monais() -> None:
    spec = importlib.util.find_spec("monai")  # its text: importing monai.apps takes seconds
    assert spec is not None
    assert spec.submodule_search_locations is not None
    text = (Path(spec.submodule_search_locations[0]) / "apps/datasets.py").read_text()
    said = text.partition("class DecathlonDataset")[2]
    for task in msd_tasks.TASKS:
        assert f'"{task.name}": "{msd_tasks.BASE_ADDRESS}/{task.name}.tar"' in said
        assert f'"{task.name}": "{task.md5}"' in said


def test_a_second_import_with_other_words_is_refused(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = ("--name", "My spleens", "--annotated", "{'*': [spleen]}")
    assert run_import(server, tmp_path / "D", *same) == 0, capsys.readouterr().err
    assert run_import(server, tmp_path / "D", *same) == 0
    assert run_import(server, tmp_path / "D") == 0
    before = (tmp_path / "D/dataset.json").read_bytes()
    for words in (("--name", "Other"), ("--licence", "other")):
        assert run_import(server, tmp_path / "D", *words) == 1
        said = capsys.readouterr().err
        assert f"has another {words[0][2:]}; edit that file" in said
    assert (tmp_path / "D/dataset.json").read_bytes() == before
