"""gzip by isal and by zlib: the same bytes out and the same refusals, whichever is there."""

import gzip
import io
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ImageError
from gridgate.data.images import compression
from gridgate.data.images.compression import deflating, inflating, read_array, read_to_end
from gridgate.data.images.reading import read_image, write_labels

RAMP = np.arange(210, dtype=np.int16).reshape(5, 6, 7)


@pytest.fixture(params=["isal", "zlib"])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zlib":
        monkeypatch.setattr(compression, "_HAS_ISAL", False)
    elif not compression._HAS_ISAL:
        pytest.skip("isal is not installed")
    return str(request.param)


def scan(path: Path) -> Path:
    nib.save(nib.Nifti1Image(RAMP, np.diag([1.0, 2.0, 3.0, 1.0])), path)
    return path


@pytest.mark.usefixtures("codec")
def test_what_python_deflates_is_inflated_members_and_all() -> None:
    content = np.random.default_rng(0).integers(0, 9, 3_000_000, dtype=np.uint8).tobytes()
    packed = gzip.compress(content[:1_000_000]) + gzip.compress(content[1_000_000:])
    with inflating(io.BytesIO(packed)) as stream:
        assert stream.read(10) == content[:10]
        stream.seek(0)
        found = read_array(stream, (3000, 1000), np.dtype(np.uint8))
    np.testing.assert_array_equal(
        found, np.frombuffer(content, np.uint8).reshape(3000, 1000, order="F")
    )


@pytest.mark.usefixtures("codec")
def test_python_inflates_what_is_deflated_and_no_time_or_name_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = np.random.default_rng(0).integers(0, 9, 3_000_000, dtype=np.uint8).tobytes()
    files = []
    for clock in (1e9, 1.5e9):
        monkeypatch.setattr("time.time", lambda clock=clock: clock)
        raw = io.BytesIO()
        with deflating(raw) as stream:
            stream.write(content[:7])
            stream.write(content[7:])
        files.append(raw.getvalue())
    assert files[0] == files[1] and len(files[0]) < len(content) / 2
    assert gzip.decompress(files[0]) == content
    assert files[0][3:8] == bytes(5)  # no flag that announces a name, and the time 0


def test_both_refuse_in_the_same_words(codec: str) -> None:
    content = np.random.default_rng(0).integers(0, 9, 50_000, dtype=np.uint8).tobytes()
    packed = gzip.compress(content)
    wrong_sum = packed[:-6] + bytes([packed[-6] ^ 255]) + packed[-5:]
    defects = {
        EOFError: [packed[:-3], packed[:5000], packed[:12]],
        zlib.error: [packed[:10] + b"\xff" * 50 + packed[60:]],
        gzip.BadGzipFile: [
            wrong_sum,
            packed + b"left over from a longer file",
            b"\x1f\x8b\x07" + packed[3:],
        ],
    }
    for error, files in defects.items():
        for number, file in enumerate(files):
            with pytest.raises(error), inflating(io.BytesIO(file)) as stream:
                read_to_end(stream)
                pytest.fail(f"{codec} took {error.__name__} {number}")
    with inflating(
        io.BytesIO(packed + bytes(9))
    ) as stream:  # zeros behind the end are padding, no damage
        assert stream.read() == content


@pytest.mark.usefixtures("codec")
def test_a_damaged_stream_raises_pythons_errors_only() -> None:
    rng = np.random.default_rng(0)
    packed = gzip.compress(rng.integers(0, 9, 20_000, dtype=np.uint8).tobytes())
    raised = []
    for start in rng.integers(10, len(packed) - 20, 60):
        damaged = packed[:start] + rng.bytes(8) + packed[start + 8 :]
        with (
            pytest.raises((EOFError, zlib.error, gzip.BadGzipFile)) as caught,
            inflating(io.BytesIO(damaged)) as stream,
        ):
            read_to_end(stream)
        raised.append(caught.type)
    assert zlib.error in raised and gzip.BadGzipFile in raised


def test_a_stream_that_ends_too_soon_is_told_with_both_lengths() -> None:
    with pytest.raises(OSError, match="Expected 420 bytes, got 400"):
        read_array(io.BytesIO(bytes(400)), (5, 6, 7), np.dtype(np.int16))


@pytest.mark.usefixtures("codec")
def test_no_cut_and_no_flipped_byte_passes_for_another_scan(tmp_path: Path) -> None:
    whole = scan(tmp_path / "whole.nii.gz").read_bytes()
    path = tmp_path / "a.nii.gz"
    for length in range(2, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"a\.nii\.gz: .*cut off or damaged"):
            read_image(path)
    refused = 0
    for position in range(2, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            np.testing.assert_array_equal(
                read_image(path).array, RAMP
            )  # the time stamp, for instance
        except ImageError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ")
    assert refused > 0.9 * len(range(2, len(whole), 3))


@pytest.mark.usefixtures("codec")
def test_more_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = scan(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes() + b"left over from a longer file")
    with pytest.raises(ImageError, match="cut off or damaged"):
        read_image(path)


@pytest.mark.usefixtures("codec")
def test_label_maps_there_and_back(tmp_path: Path) -> None:
    like = read_image(scan(tmp_path / "a.nii.gz"))
    write_labels(tmp_path / "m.nii.gz", RAMP % 9, like=like)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "m.nii.gz").dataobj), RAMP % 9)
