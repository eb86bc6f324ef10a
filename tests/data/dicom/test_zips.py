"""Series in zips: read as from a folder; damaged, encrypted and malicious ones."""

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gridgate.data.dicom.listing import archive as dicom_archive
from gridgate.data.dicom.series import find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError

SeriesWriter = Callable[..., list[Path]]


def zipped(path: Path, files: list[Path], names: list[str] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, file in enumerate(files):
            archive.write(file, names[number] if names else f"study/{file.name}")
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the process, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_zip_gives_the_same_volume_and_leaves_nothing(
    tmp_path: Path, temporary: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path / "files")
    names = ["../../evil", "/etc/evil", "C:\\evil", "a/../b", "x" * 300, "ü/☃"]
    path = zipped(tmp_path / "s.zip", files, names)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello" * 100)
    series, passed = find_series(path)
    assert passed == [] and len(series) == 1
    assert list(temporary.iterdir()) == []
    assert str(series[0]) == f"{path} (series {series[0].uid})"
    image = read_series(series[0])
    expected = read_series(find_series(tmp_path / "files")[0][0])
    np.testing.assert_array_equal(image.array, expected.array)
    np.testing.assert_array_equal(image.grid.affine, expected.grid.affine)
    assert list(temporary.iterdir()) == []
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["files", "s.zip", "temporary"]


def test_a_failed_reading_of_a_zip_leaves_nothing(
    tmp_path: Path, temporary: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path / "files", positions=[[0, 0, z] for z in (0, 1, 2, 3, 4.5)])
    series, _ = find_series(zipped(tmp_path / "s.zip", files))
    with pytest.raises(ImageError, match=r"s\.zip.*not evenly spaced"):
        read_series(series[0])
    assert list(temporary.iterdir()) == []


def test_headers_longer_than_what_is_read_first(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(
        tmp_path / "files", change=lambda data, k: data.add_new(0x00091010, "OB", bytes(100_000))
    )
    series, _ = find_series(zipped(tmp_path / "s.zip", files))
    assert read_series(series[0]).grid.shape == (7, 5, 6)


def test_an_encrypted_zip_is_refused(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    path = zipped(tmp_path / "s.zip", write_dicom(tmp_path / "files"))
    content = bytearray(path.read_bytes())
    for signature, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + flag] |= 1
            at = content.find(signature, at + 1)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"s\.zip: the zip is encrypted"):
        find_series(path)


def test_damaged_zips_are_refused(
    tmp_path: Path, temporary: Path, write_dicom: SeriesWriter
) -> None:
    big = (
        np.random.default_rng(0).integers(0, 60000, (4, 200, 300)).astype(np.uint16)
    )  # larger than what is listed
    path = zipped(tmp_path / "s.zip", write_dicom(tmp_path / "files", pixels=big, count=4))
    content = path.read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"cut\.zip: the zip is damaged"):
        find_series(tmp_path / "cut.zip")
    flipped = bytearray(content)
    at = content.find(b"CT.0001") + 100_000  # in the pixels of the second slice
    flipped[at : at + 50] = bytes(50)
    (tmp_path / "flipped.zip").write_bytes(flipped)
    series, _ = find_series(tmp_path / "flipped.zip")
    with pytest.raises(ImageError, match=r"flipped\.zip: the zip is damaged"):
        read_series(series[0])
    assert list(temporary.iterdir()) == []


def test_a_zip_is_not_unpacked_where_there_is_no_room(
    tmp_path: Path, temporary: Path, write_dicom: SeriesWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, _ = find_series(zipped(tmp_path / "s.zip", write_dicom(tmp_path / "files")))
    monkeypatch.setattr(
        dicom_archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})()
    )
    with pytest.raises(ImageError, match="set TMPDIR to another disk"):
        read_series(series[0])
    assert list(temporary.iterdir()) == []
