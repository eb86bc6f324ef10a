"""Names of label values as other programs write them: tables beside, NIfTI header extensions."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nibabel as nib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from .caret import CARET

TABLE_SUFFIXES = (".ctbl", ".label")
TABLE_NAMES = ("labels.json", "dataset.json")
_LARGEST = 1 << 22  # bytes of a table
_CTBL = re.compile(r"(\d+)\s+(\S+)(\s+[\d.]+){3,4}")
_SNAP = re.compile(r'(\d+)(\s+[\d.]+){4,6}\s+"(.*)"')
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table of labels."""
    return path.suffix.lower() in TABLE_SUFFIXES or path.name.lower() in TABLE_NAMES


def read_table(path: str | Path) -> dict[int, str]:
    r"""Value -> name of 3D Slicer's .ctbl, ITK-SNAP's .label, labels.json or a dataset.json.

    Returns:
        The foreground's names; empty where the file is no such table.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "labels.ctbl"
    >>> _ = table.write_text("# comment\n0 background 0 0 0 0\n1 liver 193 92 57 255\n")
    >>> read_table(table)
    {1: 'liver'}
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return {}
    if path.suffix.lower() == ".json":
        return _json(text)
    snap = path.suffix.lower() == ".label"
    found: dict[int, str] = {}
    for line in text.splitlines():
        match = (_SNAP if snap else _CTBL).fullmatch(line.strip())
        if match is not None and int(match[1]):
            found[int(match[1])] = match[3] if snap else match[2]
    return found


def read_caret(path: str | Path) -> dict[int, str]:
    """Value -> name of the labels in a NIfTI file's header extension, ours and TotalSegmentator's.

    Returns:
        Empty where there is none; the background is left out.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return {}
    try:
        header: Any = nib.load(path).header
        extensions = [one for one in header.extensions if one.get_code() == CARET]
        found: dict[int, str] = {}
        for extension in extensions:
            # nibabel knows no object for this code: from 5.3 on it has the bytes as `content`
            known = hasattr(extension, "content")
            content = extension.content if known else extension.get_content()
            text = content if isinstance(content, str) else bytes(content).decode("utf-8")
            if "<!DOCTYPE" in text or "<!ENTITY" in text:
                continue
            for label in ElementTree.fromstring(text.strip("\0 \n")).iter("Label"):
                if int(label.get("Key", 0)) and (label.text or "").strip():
                    found[int(label.get("Key", 0))] = str(label.text).strip()
        return found
    except (*_UNREADABLE, ElementTree.ParseError):
        return {}  # reading its voxels will say what is wrong


def _json(text: str) -> dict[int, str]:
    try:
        entries = json.loads(text)["labels"].items()
        found = {}
        for key, entry in entries:
            if isinstance(entry, list):  # a region, which has no value of its own
                continue
            # of newer tables names come first, of older ones values: a name may be of digits
            older = isinstance(entry, str) and key.isdigit()
            value, name = (int(key), entry) if older else (int(entry), key)
            if value:
                found[value] = str(name)
        return found
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
