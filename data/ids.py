"""Case ids: unique, the same from run to run, and safe as names of files on any system."""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence

_LONGEST = (
    180  # bytes of a part of an id: masks' suffixes and temporary names must still fit into 255
)
# Characters that no file name may hold on some system, and those that a terminal or a table would
# trip over.
_UNSAFE = re.compile(r'[<>:"|?*\\\x00-\x1f\x7f\ud800-\udfff]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MASK_LIKE = re.compile(r"\.(?=(nii|nii\.gz|nrrd|mha|dcm)$)", re.IGNORECASE)


def safe_id(name: str, *, flat: bool = False) -> str:
    """An id from the name of a file or folder: "sub/dir/name", or "sub_dir_name" when flat.

    Args:
        name: parts separated by "/"; empty ones and those of dots and spaces alone become "_".
        flat: put the parts together with "_".

    Returns:
        Not empty, not absolute, no part longer than 180 bytes, no "..", no characters that some
            system refuses.

    >>> safe_id("sub/../CON"), safe_id("sub/dir/name", flat=True)
    ('sub/_/_CON', 'sub_dir_name')
    """
    parts = name.split("/")
    # A folder called a.nii.gz would be in the way of the mask of a case called a.
    folders = [_MASK_LIKE.sub("_", _safe_part(part)) for part in parts[:-1]]
    parts = [*folders, _safe_part(parts[-1])]
    return _shortened("_".join(parts)) if flat else "/".join(parts)


def why_unsafe(name: str) -> str | None:
    """What keeps a name that a user gave from being a case's id; None when it can be one."""
    if name == safe_id(name):
        return None
    return "is not safe as the name of a file"


def unique_ids(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """An id for each case, none twice, upper and lower case being one.

    A case keeps the id it wants unless another wants it too; all that want one get their fallback,
    and an underscore more where even that is taken.

    Args:
        wanted: (id, fallback) per case, both safe.

    >>> unique_ids([("a", "a_nii"), ("A", "A_nrrd"), ("b", "b_nii")])
    ['a_nii', 'A_nrrd', 'b']
    """
    count = Counter(_key(name) for name, _ in wanted)
    ids = []
    for name, fallback in wanted:
        if count[_key(name)] > 1:
            name = fallback
            while count[_key(name)]:
                name += "_"
            count[_key(name)] += 1
        ids.append(name)
    return ids


def _key(name: str) -> str:
    """What file systems that do not tell upper from lower case take for one name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _safe_part(part: str) -> str:
    safe = _UNSAFE.sub("_", part).rstrip(". ").lstrip(" ")
    if not safe.strip("."):
        return "_"
    if _RESERVED.fullmatch(safe):
        safe = f"_{safe}"
    # A dot first would hide the mask.
    return _shortened("_" + safe[1:] if safe.startswith(".") else safe)


def _shortened(part: str) -> str:
    content = part.encode()
    if len(content) <= _LONGEST:
        return part
    return (
        f"{content[: _LONGEST - 9].decode(errors='ignore').rstrip('. ')}_{zlib.crc32(content):08x}"
    )
