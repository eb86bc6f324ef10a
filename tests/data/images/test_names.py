"""Which files are images, and the case that a file's name says."""

from pathlib import Path

import pytest

from gridgate.data.errors import ImageError
from gridgate.data.images.reading import case_id, find_images


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("case_1.nii.gz", "case_1"),
        ("CASE.NII.GZ", "CASE"),
        ("a.b.nii", "a.b"),
        ("Segmentation.seg.nrrd", "Segmentation"),
        ("x.nrrd", "x"),
        ("x.Mha", "x"),
        ("x.mhd", "x"),
        ("x.dcm", "x.dcm"),
        (".nii.gz", ".nii.gz"),
    ],
)
def test_case_id(name: str, expected: str) -> None:
    assert case_id(Path("/some.nii/folder") / name) == expected


def test_find_images_takes_known_suffixes_only(tmp_path: Path) -> None:
    for name in (
        "b.nii.gz",
        "a.NII",
        "c.seg.nrrd",
        "d.mhd",
        "d.raw",
        "._b.nii.gz",
        ".x.nii.gz.1.partial",
        "e.txt",
    ):
        (tmp_path / name).touch()
    (tmp_path / "folder.nii").mkdir()
    assert [path.name for path in find_images(tmp_path)] == [
        "a.NII",
        "b.nii.gz",
        "c.seg.nrrd",
        "d.mhd",
    ]
    with pytest.raises(ImageError, match=r"absent.*No such file"):
        find_images(tmp_path / "absent")
