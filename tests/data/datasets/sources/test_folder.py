"""A folder or a table of the user's becomes a dataset: by links, resumed, nothing silent."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.pairs.patterns import Listing
from gridgate.data.datasets.importing.pairs.proposal import propose
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.errors import DatasetError
from gridgate.data.images.reading import read_image

from .scan_folders import NAMES, ct, labels, nifti, scans, source, state


def test_odd_names_become_cases_by_links(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    write_dataset(source(tmp_path / "in", given={"liver": 1, "spleen": 2}), tmp_path / "D")
    dataset = load_dataset(tmp_path / "D")
    assert [case.id for case in dataset.cases] == sorted(NAMES)
    assert dataset.labels == {"background": 0, "liver": 1, "spleen": 2}
    assert dataset.channel_names == ("CT",)
    for case in dataset.cases:
        assert os.readlink(case.images[0]) == str(tmp_path / "in/img" / f"{case.id} CT.nii.gz")
        assert case.label is not None
        assert case.label.is_symlink()


def test_the_record_holds_source_checksum_licence_and_date(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    write_dataset(source(tmp_path / "in"), tmp_path / "D")
    record = json.loads((tmp_path / "D/import.json").read_text())
    file = tmp_path / "in/img/p.2 CT.nii.gz"
    assert record["files"]["imagesTr/p.2.nii.gz"]["sha256"] == (
        hashlib.sha256(file.read_bytes()).hexdigest()
    )
    assert record["origin"] == str(tmp_path / "in")
    assert record["licence"] == "not stated"
    assert record["date"].startswith("20")


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    write_dataset(source(tmp_path / "in"), tmp_path / "D")
    before = state(tmp_path / "D")
    done = write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert (done.made, done.changed) == (0, False)
    assert state(tmp_path / "D") == before


def test_a_second_run_makes_only_what_changed_or_is_missing(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    write_dataset(source(tmp_path / "in"), tmp_path / "D", copy=True)
    before = state(tmp_path / "D")
    nifti(tmp_path / "in/img/p.2 CT.nii.gz", ct(77))
    (tmp_path / "D/labelsTr/case 3.nii.gz").unlink()
    done = write_dataset(source(tmp_path / "in"), tmp_path / "D", copy=True)
    after = state(tmp_path / "D")
    assert done.made == 2
    changed = {name for name in after if after[name] != before.get(name)}
    assert {name for name in changed if name.endswith(".nii.gz")} == {
        "imagesTr/p.2.nii.gz",
        "labelsTr/case 3.nii.gz",
    }
    assert np.array_equal(read_image(tmp_path / "D/imagesTr/p.2.nii.gz").array, ct(77))


def test_a_run_cut_off_in_the_middle_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gridgate.data.datasets.importing import writer

    scans(tmp_path / "in")
    real, calls = writer.make_label, []

    def cut_off(*args: object, **options: object) -> dict[str, object]:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(args)
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "make_label", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert not (tmp_path / "D/dataset.json").exists()
    monkeypatch.setattr(writer, "make_label", real)
    done = write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert (done.made, done.kept) == (3, 3)  # two cases' images and one label map were there
    assert len(load_dataset(tmp_path / "D").cases) == 3


def test_the_source_is_never_written(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    before = state(tmp_path / "in")
    write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert state(tmp_path / "in") == before
    with pytest.raises(DatasetError, match="over its source"):
        write_dataset(source(tmp_path / "in"), tmp_path / "in")


def test_the_dataset_may_lie_in_the_folder(tmp_path: Path) -> None:
    scans(tmp_path)
    dataset = tmp_path / "img" / "D"
    write_dataset(source(tmp_path, dataset=dataset), dataset)
    again = source(tmp_path, images="**/* CT.nii.gz", dataset=dataset)
    assert len(again.cases) == 3
    assert len(propose(Listing(tmp_path, [dataset])).pairs) == 3


def test_a_case_that_left_the_source_leaves_the_dataset(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    write_dataset(source(tmp_path / "in"), tmp_path / "D")
    (tmp_path / "in/img/p.2 CT.nii.gz").unlink()
    (tmp_path / "in/seg/p.2 RTSS.nii.gz").unlink()
    done = write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert done.removed == ("imagesTr/p.2.nii.gz", "labelsTr/p.2.nii.gz")
    assert [case.id for case in load_dataset(tmp_path / "D").cases] == ["Müller 01", "case 3"]


def test_a_persons_file_in_the_way_is_kept(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    mine = nifti(tmp_path / "D/labelsTr/p.2.nii.gz", labels(5))
    content = mine.read_bytes()
    with pytest.raises(Exception, match=r"p\.2\.nii\.gz"):
        write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert mine.read_bytes() == content
