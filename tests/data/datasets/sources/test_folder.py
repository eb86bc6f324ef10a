"""A folder or a table of the user's becomes a dataset: by links, resumed, nothing silent."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.label_names import numbered
from gridgate.data.datasets.importing.pairing import pair_by_patterns, settle_unpaired
from gridgate.data.datasets.importing.patterns import Listing
from gridgate.data.datasets.importing.proposal import propose
from gridgate.data.datasets.importing.source import Source
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources.folder import folder_source, labels_of
from gridgate.data.datasets.sources.table import read_pairing_table
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.data.images.reading import read_image, read_labels

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])
NAMES = ("Müller 01", "p.2", "case 3")


def nifti(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path


def ct(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1500, (6, 5, 4)).astype(np.int16)


def labels(*values: int) -> np.ndarray:
    array = np.zeros((6, 5, 4), np.uint8)
    for place, value in enumerate(values):
        array[place] = value
    return array


def scans(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    for seed, name in enumerate(names):
        nifti(folder / "img" / f"{name} CT.nii.gz", ct(seed))
        nifti(folder / "seg" / f"{name} RTSS.nii.gz", labels(1, 2))
    return folder


def source(
    folder: Path,
    images: list[str] | str = "img/* CT.nii.gz",
    maps: str | None = "seg/* RTSS.nii.gz",
    given: dict[str, int] | None = None,
    masks: dict[str, str] | None = None,
    dataset: Path | None = None,
) -> Source:
    listing = Listing(folder, [dataset] if dataset else [])
    images = [images] if isinstance(images, str) else images
    pairing, _ = settle_unpaired(pair_by_patterns(listing, images, maps, masks), skip=False)
    pairing, found = labels_of(pairing, given)
    return folder_source(pairing, numbered(found))


def seg_nrrd(path: Path, array: np.ndarray, names: dict[int, str]) -> Path:
    """As 3D Slicer writes it, by SimpleITK."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing([0.8, 0.8, 2.5])
    for index, (value, name) in enumerate(names.items()):
        image.SetMetaData(f"Segment{index}_Name", name)
        image.SetMetaData(f"Segment{index}_LabelValue", str(value))
        image.SetMetaData(f"Segment{index}_Layer", "0")
    sitk.WriteImage(image, str(path), True)
    return path


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and path.name != "lock"
    }


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


@pytest.mark.parametrize("lost", ["img/p.2 CT.nii.gz", "seg/p.2 RTSS.nii.gz"])
def test_what_has_no_counterpart_is_named_and_refused_or_skipped(tmp_path: Path, lost: str) -> None:
    scans(tmp_path)
    (tmp_path / lost).unlink()
    pairing = pair_by_patterns(Listing(tmp_path), ["img/* CT.nii.gz"], "seg/* RTSS.nii.gz")
    other = "seg/p.2 RTSS.nii.gz" if lost.startswith("img") else "img/p.2 CT.nii.gz"
    with pytest.raises(DatasetError, match=f"{other}: no .* case 'p.2'"):
        settle_unpaired(pairing, skip=False)
    kept, notes = settle_unpaired(pairing, skip=True)
    assert [pair.id for pair in kept.pairs] == ["Müller 01", "case 3"]
    assert len(notes) == 1
    assert other in notes[0]


def test_one_case_in_two_files_is_refused(tmp_path: Path) -> None:
    scans(tmp_path)
    nifti(tmp_path / "img/sub/p.2 CT.nii.gz", ct(5))
    with pytest.raises(ConfigError, match=r"'p\.2' is there twice: img/.*p\.2 CT.* and img/"):
        source(tmp_path, images="img/**/* CT.nii.gz")


def test_ids_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    scans(tmp_path, ("Anna", "anna"))
    with pytest.raises(ConfigError, match="would both be the case"):
        source(tmp_path)


@pytest.mark.parametrize(
    ("image", "label", "images", "maps"),
    [
        ("img/{} CT.nii.gz", "seg/{} RTSS.nii.gz", "img/* CT.nii.gz", "seg/* RTSS.nii.gz"),
        ("{}/ct.nii.gz", "{}/liver.nii.gz", "*/ct.nii.gz", "*/liver.nii.gz"),
        ("{}/{}_ct.nii.gz", "{}/{}_seg.nii.gz", "*/*_ct.nii.gz", "*/*_seg.nii.gz"),
        ("{}_ct.nrrd", "{}_ct_mask.nii.gz", "*_ct.nrrd", "*_ct_mask.nii.gz"),
        ("a/x_{}.mha", "b/x_{}.mha", "a/*.mha", "b/*.mha"),
        ("{}.nii.gz", "{}_seg.nii.gz", "*.nii.gz", "*_seg.nii.gz"),
        ("{}.nrrd", "{}-label.nrrd", "*.nrrd", "*-label.nrrd"),
        (
            "imagesTr/{}_0000.nii.gz",
            "labelsTr/{}.nii.gz",
            "imagesTr/*_0000.nii.gz",
            "labelsTr/*.nii.gz",
        ),
    ],
)
def test_the_pairing_that_is_seen_is_proposed(
    tmp_path: Path, image: str, label: str, images: str, maps: str
) -> None:
    for seed, name in enumerate(("one", "two", "three")):
        for pattern, array in ((image, ct(seed)), (label, labels(1, 2))):
            path = tmp_path / pattern.format(name, name)
            path.parent.mkdir(exist_ok=True)
            sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    proposed = propose(Listing(tmp_path))
    assert proposed.options == f"--images '{images}' --labels '{maps}'"
    assert len(proposed.pairs) == 3
    assert not proposed.unpaired


def test_images_that_are_in_no_pair_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / name / "pet.nii.gz", ct(1))
        nifti(tmp_path / name / "seg.nii.gz", labels(1))
    proposed = propose(Listing(tmp_path))
    assert len(proposed.pairs) == 2
    assert len(proposed.unused) == 2
    assert not proposed.unpaired


def test_what_two_patterns_fit_is_the_longer_ones(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / f"{name}.nii.gz", ct(0))
        nifti(tmp_path / f"{name}_seg.nii.gz", labels(1))
    found = source(tmp_path, "*.nii.gz", "*_seg.nii.gz")
    assert [case.id for case in found.cases] == ["a", "b"]
    with pytest.raises(ConfigError, match="two things"):
        source(tmp_path, "*.nii.gz", "*.nii.gz")


def test_nothing_is_proposed_where_nothing_pairs(tmp_path: Path) -> None:
    for seed in range(3):
        nifti(tmp_path / f"scan{seed}.nii.gz", ct(seed))
    with pytest.raises(ConfigError, match="--images"):
        propose(Listing(tmp_path))


def test_a_table_pairs_and_several_images_are_channels(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / f"x/{name} t1.nii.gz", ct(1))
        nifti(tmp_path / f"x/{name} t2.nii.gz", ct(2))
        nifti(tmp_path / f"y/{name}.nii.gz", labels(1))
    table = tmp_path / "cases.csv"
    lines = [f'"{name}, 1";x/{name} t1.nii.gz;x/{name} t2.nii.gz;y/{name}.nii.gz' for name in "ab"]
    table.write_text("case;image_1;image_2;label\n" + "\n".join(lines) + "\n", encoding="utf-8-sig")
    pairing, found = labels_of(read_pairing_table(table), {"lesion": 1})
    write_dataset(folder_source(pairing, found, channels=("T1", "T2")), tmp_path / "D")
    dataset = load_dataset(tmp_path / "D")
    assert dataset.channel_names == ("T1", "T2")
    assert [case.id for case in dataset.cases] == ["a, 1", "b, 1"]
    assert [path.name for path in dataset.cases[0].images] == [
        "a, 1_0000.nii.gz",
        "a, 1_0001.nii.gz",
    ]
    assert np.array_equal(read_image(dataset.cases[0].images[1]).array, ct(2))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("case,scan_file,organ\na,b,c\n", "it needs image and label"),
        ("case,image,label\na,there.nii.gz,gone.nii.gz\n", "line 2: .*gone.nii.gz does not exist"),
        (
            "case,image,label\na,there.nii.gz,there.nii.gz\na,there.nii.gz,there.nii.gz\n",
            "line 3: the case a is there twice",
        ),
        ("case,image,label\na,,there.nii.gz\n", "line 2: the image is empty"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, says: str) -> None:
    nifti(tmp_path / "there.nii.gz", ct(0))
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_pairing_table(tmp_path / "t.csv")


def test_names_in_segmentations_win_over_values(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / f"{name}/ct.nii.gz", ct(0))
    seg_nrrd(tmp_path / "a/s.seg.nrrd", labels(1, 2), {1: "liver", 2: "left kidney"})
    seg_nrrd(tmp_path / "b/s.seg.nrrd", labels(2, 1, 4), {1: "Left Kidney", 2: "liver", 4: "gut"})
    found = source(tmp_path, "*/ct.nii.gz", "*/s.seg.nrrd")
    assert found.labels == {"background": 0, "liver": 1, "left kidney": 2, "gut": 3}
    assert any("names win" in note for note in found.notes)
    assert any("1 of 2 label maps do not name 'gut'" in note for note in found.notes)
    write_dataset(found, tmp_path / "D")
    assert (tmp_path / "D/labelsTr/a.seg.nrrd").is_symlink()
    array = read_labels(tmp_path / "D/labelsTr/b.nii.gz").array
    assert array[:, 0, 0].tolist() == [1, 2, 3, 0, 0, 0]


def test_given_names_decide_the_values_of_segments(tmp_path: Path) -> None:
    nifti(tmp_path / "a/ct.nii.gz", ct(0))
    seg_nrrd(tmp_path / "a/s.seg.nrrd", labels(1, 2), {1: "liver", 2: "gut"})
    with pytest.raises(ConfigError, match="does not name 'gut'"):
        source(tmp_path, "*/ct.nii.gz", "*/s.seg.nrrd", {"liver": 7})
    found = source(tmp_path, "*/ct.nii.gz", "*/s.seg.nrrd", {"liver": 7, "gut": 0})
    write_dataset(found, tmp_path / "D")
    assert load_dataset(tmp_path / "D").labels == {"background": 0, "liver": 7}
    assert set(np.unique(read_labels(tmp_path / "D/labelsTr/a.nii.gz").array)) == {0, 7}


def test_names_come_from_a_table_beside(tmp_path: Path) -> None:
    scans(tmp_path)
    (tmp_path / "seg/colors.ctbl").write_text("0 bg 0 0 0 0\n1 liver 1 2 3 255\n2 gut 1 2 3 255\n")
    assert source(tmp_path).labels == {"background": 0, "liver": 1, "gut": 2}


def test_names_come_from_our_own_masks(tmp_path: Path) -> None:
    from gridgate.data.images.writing import write_labels
    from gridgate.data.label_tables.table import LabelTable

    scans(tmp_path, ("a",))
    image = read_image(tmp_path / "img/a CT.nii.gz")
    table = LabelTable.of(["background", "liver", "left kidney"])
    write_labels(tmp_path / "seg/a RTSS.nii.gz", labels(1, 2), like=image, table=table)
    assert source(tmp_path).labels == {"background": 0, "liver": 1, "left kidney": 2}


def test_values_without_names_are_found_and_numbered(tmp_path: Path) -> None:
    scans(tmp_path)
    nifti(tmp_path / "seg/p.2 RTSS.nii.gz", labels(1, 9).astype(np.float32))
    found = source(tmp_path)
    assert found.labels == {"background": 0, "label_1": 1, "label_2": 2, "label_9": 9}
    assert any("--label_names" in note for note in found.notes)


def test_masks_compose_a_label_map(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / name / "liver.nii.gz", labels(1, 1, 0))
    nifti(tmp_path / "a" / "tumour.nii.gz", labels(0, 255, 0))
    masks = {"liver": "*/liver.nii.gz", "tumour": "*/tumour.nii.gz"}
    write_dataset(source(tmp_path, "*/ct.nii.gz", None, None, masks), tmp_path / "D")
    first, second = (read_labels(tmp_path / f"D/labelsTr/{name}.nii.gz").array for name in "ab")
    assert first[:, 0, 0].tolist() == [1, 2, 0, 0, 0, 0]
    assert second[:, 0, 0].tolist() == [1, 1, 0, 0, 0, 0]


def test_a_case_that_lacks_a_mask_says_so(tmp_path: Path) -> None:
    for name in ("a", "b"):
        nifti(tmp_path / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / name / "liver.nii.gz", labels(1))
    nifti(tmp_path / "a" / "tumour.nii.gz", labels(1))
    masks = {"liver": "*/liver.nii.gz", "tumour": "*/tumour.nii.gz"}
    found = source(tmp_path, "*/ct.nii.gz", None, {"liver": 4, "tumour": 2}, masks)
    assert found.labels == {"background": 0, "liver": 4, "tumour": 2}
    assert found.cases[0].notes == ()
    assert "no mask of tumour" in found.cases[1].notes[0]
    with pytest.raises(ConfigError, match="tumour"):
        source(tmp_path, "*/ct.nii.gz", None, {"liver": 2}, masks)


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


def test_a_missing_mask_is_declared_as_not_annotated(tmp_path: Path) -> None:
    """And a source's own word on the case comes before that."""
    for name in ("a", "b", "c"):
        nifti(tmp_path / "in" / name / "ct.nii.gz", ct(0))
        nifti(tmp_path / "in" / name / "liver.nii.gz", labels(1))
    nifti(tmp_path / "in" / "a" / "tumour.nii.gz", labels(1))
    masks = {"liver": "*/liver.nii.gz", "tumour": "*/tumour.nii.gz"}
    found = source(tmp_path / "in", "*/ct.nii.gz", None, None, masks)
    write_dataset(found, tmp_path / "D")
    cases = {case.id: case.annotated for case in load_dataset(tmp_path / "D").cases}
    assert cases == {"a": None, "b": ("liver",), "c": ("liver",)}
    told = replace(found, annotated={"b": ["liver", "tumour"]})
    assert write_dataset(told, tmp_path / "D").changed
    cases = {case.id: case.annotated for case in load_dataset(tmp_path / "D").cases}
    assert cases == {"a": None, "b": None, "c": ("liver",)}
    with pytest.raises(DatasetError, match="fits no case"):
        replace(found, annotated={"x*": ["liver"]})
