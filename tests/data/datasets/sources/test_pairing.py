"""Which image belongs to which label map: by patterns, proposed, or from a table."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.pairs.pairing import pair_by_patterns, settle_unpaired
from gridgate.data.datasets.importing.pairs.patterns import Listing
from gridgate.data.datasets.importing.pairs.proposal import propose
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources.folder import folder_source, labels_of
from gridgate.data.datasets.sources.table import read_pairing_table
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.data.images.reading import read_image

from .scan_folders import ct, labels, nifti, scans, source


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


def test_a_short_row_has_empty_cells(tmp_path: Path) -> None:
    nifti(tmp_path / "a.nii.gz", ct(0))
    nifti(tmp_path / "b.nii.gz", labels(1))
    rows = "image,label,patient\na.nii.gz,b.nii.gz\n"
    (tmp_path / "t.csv").write_text(rows)
    (pair,) = read_pairing_table(tmp_path / "t.csv").pairs
    assert pair.patient == ""


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
