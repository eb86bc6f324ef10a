"""The end of a sequence, against where pydicom's writer puts it."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from gridgate.data.dicom.listing.headers import look_at_bytes
from gridgate.data.dicom.listing.sequences import end_of_sequence
from gridgate.data.dicom.listing.types import Found


def nested(depth: int, undefined: bool) -> Dataset:
    data = Dataset()
    data.CodeValue, data.CodeMeaning = "1", "a meaning " * 3
    data.add_new(0x00091010, "OB", b"\xfe\xff\xdd\xe0\0\0\0\0" * 3)  # looks like a delimiter
    if depth:
        items = [nested(depth - 1, not undefined), nested(0, undefined)]
        for item in items:
            item.is_undefined_length_sequence_item = undefined
        data.RelatedSeriesSequence = items
        data["RelatedSeriesSequence"].is_undefined_length = undefined
    return data


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_end_is_where_the_writer_put_it(depth: int, implicit: bool) -> None:
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, implicit
    write_dataset(stream, nested(depth, True))
    content = stream.getvalue()
    start = content.index(b"\x08\x00\x50\x12") + (8 if implicit else 12)
    end = end_of_sequence(content, start, explicit=not implicit)
    following = content.index(b"\x09\x00\x10\x10", end)  # the element after the sequence
    assert content[end : end + 8] == b"\xfe\xff\xdd\xe0\0\0\0\0" and end + 8 == following


@pytest.mark.parametrize("content", [bytes(80), b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 9, b""])
def test_what_is_no_sequence_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="a sequence without"):
        end_of_sequence(content, 0, explicit=True)


@pytest.mark.parametrize("implicit", [False, True])
def test_headers_with_sequences_are_read_as_others(implicit: bool) -> None:
    data = nested(3, True)
    data.Modality, data.SOPClassUID, data.Rows, data.Columns = "CT", "1.2.3", 5, 7
    data.SeriesInstanceUID = "1.2.9"
    stream = BytesIO()
    data.save_as(stream, implicit_vr=implicit, little_endian=True)
    found = look_at_bytes(stream.getvalue(), "a", whole=True)
    assert isinstance(found, Found)
    assert (found.uid, found.modality, found.place.size) == ("1.2.9", "CT", ("5", "7"))
