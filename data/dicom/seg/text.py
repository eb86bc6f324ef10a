"""Text and dates of DICOM headers, however they were written, as what the standard allows.

Headers are decoded by the character sets that they name (PS3.3 C.12.1.1.2), by escape sequences
also where these are not named, and by what the bytes must be where a wrong one is named. What has
no valid reading is left empty: all attributes treated here may be.
"""

import codecs
import datetime
import re
import unicodedata
import warnings
from collections.abc import Sequence

from pydicom.charset import CODES_TO_ENCODINGS, decode_bytes, python_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS, PersonName

_ESCAPE = b"\x1b"
_MULTI_BYTE = ("utf-8", "gb18030", "gbk", "gb2312", "euc_kr", "shift_jis")
_IR = re.compile(r"(ISO[ _-]*2022)?[ _-]*(?:ISO)?[ _-]*IR[ _-]*(\d+)")
_CLOSE = {"iso2022_jp": "cp932", "iso2022_jp_2": "cp932", "shift_jis": "cp932", "gb2312": "gb18030"}
_LENGTHS = {"SH": 16, "LO": 64, "CS": 16}
_GROUPS, _COMPONENTS, _LONGEST_GROUP = 3, 5, 64  # of a person's name
_SEXES = {"M": "M", "MALE": "M", "F": "F", "FEMALE": "F", "O": "O", "OTHER": "O"}
_DATE = re.compile(r"(\d{4})([-./ ]?)(\d{1,2})\2(\d{1,2})(?=$|[T ]|\d{6})")
_TIME = re.compile(r"(\d{2}):?(?:(\d{2}):?(?:(\d{2})(\.\d{1,6})?)?)?$")
_AGE = re.compile(r"(\d{1,3})\s*([DWMY])", re.IGNORECASE)


def text_of(header: Dataset, keyword: str) -> str:
    """The text of a tag, decoded; "" where it is missing. Several values are joined by a space.

    Args:
        header: as pydicom read it; values that nobody has asked for yet are still bytes.
    """
    tag = tag_for_keyword(keyword)
    element = header.get_item(tag) if tag is not None and tag in header else None
    value = None if element is None else element.value
    if value is None:
        return ""
    if isinstance(value, PersonName):
        value = value.original_string or str(value)
    if isinstance(value, bytes):
        is_name = keyword.endswith("Name")
        value = decode(value, encodings_of(header), PN_DELIMS if is_name else TEXT_VR_DELIMS)
    return clean(str(value))


def encodings_of(header: Dataset) -> list[str]:
    """Python's names of the character sets that a header names; none for the default repertoire."""
    element = header.get_item(0x00080005) if 0x00080005 in header else None
    value = "" if element is None or element.value is None else element.value
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    terms = value.split("\\") if isinstance(value, str) else [str(one) for one in value]
    found = [_encoding(term.strip(" \0").upper()) for term in terms]
    return [one for one in found if one]


def decode(value: bytes, encodings: Sequence[str], delimiters: set[int]) -> str:
    """Bytes of a header as text.

    Args:
        value: of one element.
        encodings: from `encodings_of`.
        delimiters: character codes at which a character set ends (PS3.5 6.1.2.5.3).
    """
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii")
    if _ESCAPE in value:
        first = [one for one in encodings if one not in ("iso2022_jp", "iso2022_jp_2")][:1]
        known = [*(first or ["iso8859"]), *dict.fromkeys(CODES_TO_ENCODINGS.values())]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode_bytes(value, known, delimiters)
    several = [one for one in encodings if one in _MULTI_BYTE]
    single = [one for one in encodings if one not in several and not one.startswith("iso2022")]
    close = [_CLOSE[one] for one in encodings if one in _CLOSE]
    for encoding in (*several, "utf-8", *close, *single):
        try:
            return value.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return value.decode("latin-1")


def clean(text: str) -> str:
    """Without control characters, backslashes (which part values) and spaces at the ends."""
    kept = (
        " " if character == "\\" or unicodedata.category(character) in ("Cc", "Cs") else character
        for character in text.strip("\0 ")
    )
    return "".join(kept).strip()


def person_name(text: str) -> str:
    """A name of at most three groups of five components and 64 characters each."""
    groups = []
    for group in text.split("=")[:_GROUPS]:
        parts = [part.strip() for part in group.split("^")[:_COMPONENTS]]
        groups.append("^".join(parts)[:_LONGEST_GROUP].strip())
    return "=".join(groups).rstrip("=")


def shortened(text: str, kind: str) -> str:
    """A description, cut to the length that its value representation (SH or LO) allows."""
    return text[: _LENGTHS[kind]].strip()


def identifier(text: str, kind: str) -> str:
    """An identifier, or "" where it is too long: a part of it would name someone else."""
    return text if len(text) <= _LENGTHS[kind] else ""


def date(text: str) -> str:
    """YYYYMMDD of `2020-01-01`, `2020.1.1`, `20200101T1010` and the like, or "".

    >>> date("2020-01-01"), date("2020.1.31"), date("00000000"), date("01.02.2020")
    ('20200101', '20200131', '', '')
    """
    match = _DATE.match(text)
    if match is None or (not match[2] and len(match[3] + match[4]) != 4):
        return ""
    try:
        found = datetime.date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:
        return ""
    return f"{found.year:04d}{found.month:02d}{found.day:02d}"


def time(text: str) -> str:
    """HHMMSS of `10:10:10`, `1010` and the like, with fractions where they are, or "".

    >>> time("10:10:10.5"), time("1010"), time("240000"), time("noon")
    ('101010.5', '1010', '', '')
    """
    match = _TIME.match(text)
    if match is None:
        return ""
    hours, minutes, seconds = (int(match[k] or 0) for k in (1, 2, 3))
    if hours > 23 or minutes > 59 or seconds > 59:
        return ""
    return "".join(part for part in match.groups() if part)


def sex(text: str) -> str:
    """M, F, O or "".

    >>> sex("female"), sex("U")
    ('F', '')
    """
    return _SEXES.get(text.upper(), "")


def age(text: str) -> str:
    """Such as 045Y, or "" where the unit is missing.

    >>> age("45y"), age("6 months"), age("45")
    ('045Y', '006M', '')
    """
    match = _AGE.match(text)
    return "" if match is None else f"{int(match[1]):03d}{match[2].upper()}"


def _encoding(term: str) -> str:
    match = _IR.fullmatch(term)
    if match is not None:
        number = match[2]
        kinds = (f"ISO_IR {number}", f"ISO 2022 IR {number}")
        term = next((kind for kind in kinds if kind in python_encoding), term)
    if term in ("", "ISO_IR 6", "ISO 2022 IR 6"):
        return ""
    name = python_encoding.get(term, term)
    if name in CODES_TO_ENCODINGS.values():
        return name
    try:
        return codecs.lookup(name).name
    except LookupError:
        return ""
