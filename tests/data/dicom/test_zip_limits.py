"""Zips that inflate to far more than they are: bounded in memory and on the disk."""

import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from gridgate.data.dicom.listing import archive
from gridgate.data.dicom.series import find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError
from gridgate.data.inputs.find import find_cases

SeriesWriter = Callable[..., list[Path]]
LARGE = 150 << 20
ENOUGH = 48 << 20  # bytes of memory for listing, whatever a zip holds


def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH", group, number) + kind
    long = kind in (b"OB", b"SQ", b"UN")
    length = struct.pack("<I", len(value)) if long else struct.pack("<H", len(value))
    return head + (b"\0\0" if long else b"") + length + value


def file_meta(syntax: str = ExplicitVRLittleEndian) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = element(2, 0x10, b"UI", uid)
    return bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta


def write_member(path: Path, head: bytes, fill: bytes, size: int, method: int = 8) -> Path:
    """A zip of one member: a beginning, and then `fill` until it has `size` bytes."""
    with zipfile.ZipFile(path, "w", method) as zipped, zipped.open("ct.dcm", "w") as stream:
        stream.write(head)
        block = fill * (1 << 16)
        for _ in range(max(1, (size - len(head)) // len(block))):
            stream.write(block)
    return path


def peak(path: Path) -> int:
    tracemalloc.start()
    try:
        find_cases(path.parent, progress=False)
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


@pytest.mark.parametrize(
    ("head", "fill", "size", "method"),
    [
        (file_meta() + b"\x09\x00\x10\x10OB\0\0" + struct.pack("<I", LARGE), b"\0", LARGE, 8),
        (file_meta() + b"\x09\x00\x10\x10UN\0\0\xff\xff\xff\xff", b"\0", LARGE, 8),
        (
            file_meta() + b"\x08\x00\x11\x11SQ\0\0\xff\xff\xff\xff",
            b"\xfe\xff\x00\xe0\0\0\0\0",
            4 << 20,
            8,
        ),
        (b"", b"\0", LARGE, 8),
        (file_meta() + b"\x09\x00\x10\x10OB\0\0" + struct.pack("<I", LARGE), b"\0", LARGE, 14),
    ],
    ids=["one_long_value", "value_without_end", "countless_items", "zeros", "lzma"],
)
def test_listing_takes_little_memory_whatever_a_member_inflates_to(
    head: bytes, fill: bytes, size: int, method: int, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    path = write_member(tmp_path / "in" / "bomb.zip", head, fill, size, method)
    assert path.stat().st_size < 1 << 20
    (tmp_path / "in" / "ct.nii").write_bytes(b"")  # another case, so that there is one
    assert peak(path) < ENOUGH
    series, passed = find_series(path)
    if method == 14:
        assert series == [] and "unpack the zip" in passed[0].note
    elif head:
        with pytest.raises(ImageError, match="header"):
            read_series(series[0])
    else:
        assert series == [] and passed == []


def test_a_deflated_data_set_is_inflated_no_further_than_its_header(tmp_path: Path) -> None:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = element(8, 0x60, b"CS", b"CT") + b"\x09\x00\x10\x10OB\0\0" + struct.pack("<I", LARGE)
    packed = packer.compress(body)
    for _ in range(LARGE >> 20):
        packed += packer.compress(bytes(1 << 20))
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "ct.dcm"
    path.write_bytes(file_meta(DeflatedExplicitVRLittleEndian) + packed + packer.flush())
    assert path.stat().st_size < 1 << 20
    (tmp_path / "in" / "ct.nii").write_bytes(b"")
    assert peak(path) < ENOUGH


def test_deflated_members_are_read(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    def change(data: Dataset, k: int) -> None:
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    pixels = np.random.default_rng(0).integers(0, 3000, (3, 200, 300)).astype(np.uint16)
    files = write_dicom(tmp_path / "files", pixels=pixels, count=3, change=change)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as zipped:
        for file in files:
            zipped.write(file, file.name)
    series, passed = find_series(tmp_path / "s.zip")
    assert len(series) == 1 and passed == []
    np.testing.assert_array_equal(
        read_series(series[0]).array, pixels.transpose(2, 1, 0).astype(np.float32) - 1024
    )


def test_what_no_scan_inflates_to_is_not_unpacked(
    tmp_path: Path, write_dicom: SeriesWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A complete header before 300 MB of zeros: listed as a scan, and not unpacked."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    file = write_dicom(tmp_path / "files", count=1)[0]
    path = write_member(tmp_path / "bomb.zip", file.read_bytes(), b"\0", 300 << 20)
    series, _ = find_series(path)
    with pytest.raises(ImageError, match="MB, which no scan does"):
        read_series(series[0])
    assert list(folder.iterdir()) == []


def test_a_zip_in_a_zip_is_not_unpacked(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path / "files")
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        for file in files:
            inner.write(file, file.name)
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        outer.write(tmp_path / "inner.zip", "inner.zip")
        for file in files:
            outer.write(file, file.name)
    series, passed = find_series(tmp_path / "outer.zip")
    assert len(series) == 1 and len(series[0].files) == 6
    assert [one.note for one in passed] == [archive.NESTED]
