"""Odd names and files of a folder, and what must not be written over."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.pairs.patterns import Listing
from gridgate.data.datasets.importing.pairs.proposal import propose
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.errors import DatasetError, GridgateError, ImageError
from gridgate.data.images.reading import read_image

from .scan_folders import AFFINE, ct, labels, nifti, scans, seg_nrrd, source


def test_one_letter_written_in_two_ways_is_one_case(tmp_path: Path) -> None:
    composed, decomposed = "M\u00fcller", "Mu\u0308ller"
    nifti(tmp_path / "img" / f"{composed} CT.nii.gz", ct(0))
    nifti(tmp_path / "seg" / f"{decomposed} S\u00e4g.nii.gz", labels(1))
    found = source(tmp_path, maps="seg/* Sa\u0308g.nii.gz")
    assert [case.id for case in found.cases] == [composed]
    assert len(propose(Listing(tmp_path)).pairs) == 1


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    scans(tmp_path / "in", ("x",))
    for part, end in (("img", b" CT.nii.gz"), ("seg", b" RTSS.nii.gz")):
        folder = os.fsencode(tmp_path / "in" / part)
        os.rename(folder + b"/x" + end, folder + b"/caf\xe9" + end)
    write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert [case.id for case in load_dataset(tmp_path / "D").cases] == ["caf_"]
    assert not write_dataset(source(tmp_path / "in"), tmp_path / "D").changed


def test_two_files_of_one_image_are_converted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "i").mkdir(exist_ok=True)
        image = sitk.GetImageFromArray(ct(3).transpose(2, 1, 0))
        image.SetSpacing([0.8, 0.8, 2.5])
        sitk.WriteImage(image, str(tmp_path / f"i/{name}.mhd"))
        nifti(tmp_path / f"l/{name}.nii.gz", labels(1))
    write_dataset(source(tmp_path, "i/*.mhd", "l/*.nii.gz"), tmp_path / "D")
    made = read_image(tmp_path / "D/imagesTr/a.nii.gz", keep_integers=True)
    assert np.array_equal(made.array, ct(3))
    assert np.allclose(made.grid.affine, AFFINE)


def test_files_are_copied_where_links_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans(tmp_path / "in")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "symlink", refuse)
    write_dataset(source(tmp_path / "in"), tmp_path / "D")
    copy = tmp_path / "D/imagesTr/p.2.nii.gz"
    assert not copy.is_symlink()
    assert copy.read_bytes() == (tmp_path / "in/img/p.2 CT.nii.gz").read_bytes()


def test_broken_cases_are_named_and_the_others_made(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / name / "ct.nii.gz", ct(0))
        seg_nrrd(tmp_path / name / "s.seg.nrrd", labels(1), {1: "liver"})
    seg_nrrd(tmp_path / "b/s.seg.nrrd", labels(2, 3), {2: "liver"})  # 3 has no name
    found = source(tmp_path, "*/ct.nii.gz", "*/s.seg.nrrd", {"liver": 1})
    with pytest.raises(DatasetError, match=r"b: .*s\.seg\.nrrd: holds values without a name: 3"):
        write_dataset(found, tmp_path / "D")
    assert (tmp_path / "D/labelsTr/a.seg.nrrd").exists()
    assert not (tmp_path / "D/dataset.json").exists()
    done = write_dataset(found, tmp_path / "D", skip_broken=True)
    assert list(done.left_out) == ["b"]
    assert [case.id for case in load_dataset(tmp_path / "D").cases] == ["a"]
    assert not (tmp_path / "D/imagesTr/b.nii.gz").exists()


def test_a_dataset_that_is_no_import_is_kept(tmp_path: Path) -> None:
    scans(tmp_path / "in")
    (tmp_path / "D").mkdir()
    (tmp_path / "D/dataset.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"dataset\.json: was not written by an import"):
        write_dataset(source(tmp_path / "in"), tmp_path / "D")
    assert [path.name for path in (tmp_path / "D").iterdir()] == ["dataset.json"]


def test_another_source_does_not_come_into_the_same_dataset(tmp_path: Path) -> None:
    scans(tmp_path / "one")
    scans(tmp_path / "two")
    write_dataset(source(tmp_path / "one"), tmp_path / "D")
    with pytest.raises(DatasetError, match=r"holds the import of .*one"):
        write_dataset(source(tmp_path / "two"), tmp_path / "D")


def test_cases_that_cannot_even_be_looked_at_are_left_out_like_others(tmp_path: Path) -> None:
    """A label map that is cut off, when values are looked for."""
    for name in ("a", "b"):
        nifti(tmp_path / "in" / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / "in" / name / "s.nii.gz", labels(1))
    cut = tmp_path / "in/b/s.nii.gz"
    cut.write_bytes(cut.read_bytes()[:60])
    found = source(tmp_path / "in", "*/ct.nii.gz", "*/s.nii.gz")
    with pytest.raises(DatasetError, match=r"1 of 2 cases cannot be imported:\n  b: .*s\.nii\.gz"):
        write_dataset(found, tmp_path / "D")
    done = write_dataset(found, tmp_path / "D", skip_broken=True)
    assert list(done.left_out) == ["b"] and load_dataset(tmp_path / "D").cases[0].id == "a"
    (tmp_path / "in/a/s.nii.gz").write_bytes(b"")
    with pytest.raises(ImageError, match=r"s\.nii\.gz"):
        source(tmp_path / "in", "*/ct.nii.gz", "*/s.nii.gz")


def test_a_folder_of_two_series_is_a_broken_case(tmp_path: Path, shared_data: Path) -> None:
    slices = sorted((shared_data / "dicom/three_slices_with_dicom_seg").glob("0?.dcm"))
    for name in ("a", "b"):
        (tmp_path / "in" / name / "ct").mkdir(parents=True)
        for path in slices:
            (tmp_path / "in" / name / "ct" / path.name).symlink_to(path)
        nifti(tmp_path / "in" / name / "s.nii.gz", labels(1))
    for path in slices:
        other = pydicom.dcmread(path)
        other.SeriesInstanceUID += ".1"
        other.SOPInstanceUID += ".1"
        other.save_as(tmp_path / "in/b/ct" / f"other_{path.name}")
    found = source(tmp_path / "in", "*/ct", "*/s.nii.gz")
    assert [case.id for case in found.cases if "holds 2 DICOM series" in case.broken] == ["b"]
    with pytest.raises(DatasetError, match=r"1 of 2 cases cannot be imported:\n  b: .*2 DICOM"):
        write_dataset(found, tmp_path / "D")
    assert list(write_dataset(found, tmp_path / "D", skip_broken=True).left_out) == ["b"]
    for path in slices:
        (tmp_path / "in/a/ct" / f"other_{path.name}").symlink_to(
            tmp_path / "in/b/ct" / f"other_{path.name}"
        )
    with pytest.raises(DatasetError, match="holds 2 DICOM series"):
        source(tmp_path / "in", "*/ct", "*/s.nii.gz")  # no image at all can be read


def test_a_damaged_label_map_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        nifti(tmp_path / f"in/img/{name} CT.nii.gz", ct(seed))
        nifti(tmp_path / f"in/seg/{name} RTSS.nii.gz", labels(1, 2))
    head = b"\x1f\x8b\x08" + bytes(7)
    (tmp_path / "in/seg/b RTSS.nii.gz").write_bytes(head + b"\xff" * 500)
    with pytest.raises(GridgateError, match="b RTSS"):
        write_dataset(source(tmp_path / "in"), tmp_path / "D")
