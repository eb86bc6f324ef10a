"""The little of a DICOM header that tells which series a file belongs to; fast for many files."""

import os
import stat
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, MediaStorageDirectoryStorage

from .sequences import UNDEFINED, end_of_sequence
from .types import Damaged, Found, Place

HEADER_LIMIT = 1 << 20  # bytes; the header of a member of a zip is looked for in so many
_LISTED = [
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "SeriesDescription",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
]
# Of letters and digits only, whatever the character set.
_SPELT = {
    "ImageType",
    "Modality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "SeriesNumber",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
}
_LISTED_TAGS: list[BaseTag | int] = [Tag(keyword) for keyword in _LISTED]
_LAST = max(_LISTED_TAGS)
_PREAMBLE = 128
_LONG = 4096  # bytes; longer values, such as private tables, are not read into memory
_BIG_ENDIAN = b"1.2.840.10008.1.2.2\0"
_DEFLATED, _EXPLICIT = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1"


def look_at_file(path: Path) -> Found | Damaged | None:
    """What a file says of itself; None when it is not DICOM."""
    name, folder = os.fspath(path), os.fspath(path.parent)
    named = path.suffix.lower() in (".dcm", ".ima")
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None  # opening a named pipe would wait for ever
        with open(path, "rb") as stream:
            head = stream.read(_PREAMBLE + 4)
            if is_dicom(head):
                stream.seek(0)
                return look_at_header(stream, name)
    except OSError as error:
        return Damaged(
            name,
            folder,
            f"it cannot be read ({error.strerror or error}); ask for read access",
            named,
        )
    if not head:
        return Damaged(name, folder, "it is empty (zero bytes); copy it again", named)
    return (
        Damaged(name, folder, "it is named like a DICOM file and is none; copy it again")
        if named
        else None
    )


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with these 132 bytes is DICOM, with or without the preamble."""
    if head[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return True
    # Without a preamble the first element is one of the groups 0002 or 0008, little endian, with a
    # short value.
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00") or head[3] != 0:
        return False
    return (head[4:6].isalpha() and head[4:6].isupper()) or head[6:8] == b"\x00\x00"


def look_at_header(stream: BinaryIO, name: str, *, whole: bool = True) -> Found | Damaged | None:
    """As `look_at_file`, from a stream that is known to look like DICOM.

    Args:
        stream: at its beginning.
        name: the file's, for the result.
        whole: the stream is the whole file; where it is not, None can mean: not enough of it.
    """
    ended = whole

    def passed_last(tag: BaseTag, vr: str | None, length: int) -> bool:
        nonlocal ended
        ended = ended or tag > _LAST
        if tag <= _LAST and length == UNDEFINED and content:
            # pydicom would make an object of each item of a sequence that nobody asks for
            explicit = vr is not None and vr != "UN"
            plain.seek(end_of_sequence(content, plain.tell(), explicit=explicit))
        return tag > _LAST

    try:
        plain = _inflated(stream)
        content = plain.getvalue() if isinstance(plain, BytesIO) else b""
        if _BIG_ENDIAN in content[:512]:
            content = b""
        header = read_partial(
            plain,
            passed_last,
            force=True,
            specific_tags=_LISTED_TAGS,
            defer_size=_LONG,
        )
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            return None
        return _found(header, name) if ended else None
    except Exception as error:  # pydicom raises errors of a dozen types on damaged headers
        if not ended:
            return None
        reason = f"its DICOM header is damaged ({type(error).__name__}: {error}); copy it again"
        return Damaged(name, os.path.dirname(name), reason)


def look_at_bytes(content: bytes, name: str, *, whole: bool) -> Found | Damaged | None:
    """As `look_at_header`, from the beginning of a file in memory."""
    return look_at_header(BytesIO(content), name, whole=whole)


def read_header(source: BinaryIO | Path, tags: list[str] | None = None) -> FileDataset:
    """A file's header without its pixels; `tags` are the keywords to keep, None keeps all."""
    return pydicom.dcmread(
        source,
        stop_before_pixels=True,
        force=True,
        specific_tags=tags,
        defer_size=_LONG if tags else None,
    )


def instance_uid(header: FileDataset) -> str:
    """SOPInstanceUID, or that of the file's meta header where it was emptied; perhaps ""."""
    return str(
        header.get("SOPInstanceUID") or header.file_meta.get("MediaStorageSOPInstanceUID") or ""
    )


def class_uid(header: FileDataset) -> str:
    """SOPClassUID, or that of the file's meta header where it was emptied; perhaps ""."""
    return str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")


def _inflated(stream: BinaryIO) -> BinaryIO:
    """The stream, or, where its data set is deflated, the beginning of the data set in memory.

    pydicom would inflate all of it, however much that is.
    """
    start = stream.tell()
    head = stream.read(_PREAMBLE + 16)
    stream.seek(start)
    if len(head) < _PREAMBLE + 16 or head[_PREAMBLE : _PREAMBLE + 8] != b"DICM\x02\x00\x00\x00":
        return stream
    meta_end = _PREAMBLE + 16 + struct.unpack("<I", head[-4:])[0]
    meta = stream.read(min(meta_end, HEADER_LIMIT))
    if _DEFLATED not in meta:
        stream.seek(start)
        return stream
    data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(HEADER_LIMIT), HEADER_LIMIT)
    return BytesIO(meta.replace(_DEFLATED, _EXPLICIT.ljust(len(_DEFLATED), b"\0")) + data)


def _found(header: FileDataset, name: str) -> Found | None:
    sop_class = class_uid(header)
    if not sop_class and "Modality" not in header:
        return None  # bytes that happened to look like DICOM
    kind = UID(sop_class).name
    modality = _text(header, "Modality").upper()
    if not modality and "CT Image Storage" in kind:
        modality = "CT"
    return Found(
        name=name,
        folder=os.path.dirname(name),
        uid=_text(header, "SeriesInstanceUID"),
        instance=instance_uid(header),
        modality=modality,
        description=_text(header, "SeriesDescription"),
        number=_text(header, "SeriesNumber"),
        # A file that is cut off within its header is still an image, whose reading will say what is
        # wrong.
        pixels="Rows" in header or "Image Storage" in kind,
        localizer="LOCALIZER" in _texts(header, "ImageType"),
        capture="Secondary Capture" in kind and not _texts(header, "ImagePositionPatient"),
        enhanced="Enhanced" in kind,
        derived=_texts(header, "ImageType")[:1] == ("DERIVED",),
        place=Place(
            position=_texts(header, "ImagePositionPatient"),
            orientation=_texts(header, "ImageOrientationPatient"),
            spacing=_texts(header, "PixelSpacing"),
            size=_texts(header, "Rows") + _texts(header, "Columns"),
            frames=_count(header, "NumberOfFrames"),
            study=_text(header, "StudyInstanceUID"),
            frame_of_reference=_text(header, "FrameOfReferenceUID"),
            patient=_text(header, "PatientID"),
        ),
    )


def _text(header: FileDataset, tag: str) -> str:
    if tag in _SPELT:
        return "\\".join(_texts(header, tag))
    value = header.get(tag)
    return "" if value is None else str(value).strip()


def _texts(header: FileDataset, tag: str) -> tuple[str, ...]:
    """The values of a tag as texts; () where it is missing or cannot be understood."""
    try:
        element = header.get_item(tag)
        if tag in _SPELT and isinstance(element, RawDataElement):  # no need to convert it
            spelt = (element.value or b"").decode("ascii").strip(" \0")
            return tuple(one.strip() for one in spelt.split("\\")) if spelt else ()
        value = header.get(tag)
    except Exception:  # a damaged value must not hide the file: its reading will tell
        return ()
    if value is None or value == "":
        return ()
    several = [value] if isinstance(value, str | int | float) else list(value)
    return tuple(str(one) for one in several)


def _count(header: FileDataset, tag: str) -> int:
    text = "".join(_texts(header, tag)[:1])
    return int(text) if text.isdecimal() else 1
