"""Labels as a NIfTI header extension, in the form of Connectome Workbench and TotalSegmentator."""

from __future__ import annotations

import re

from .table import Label, LabelTable

CARET = 30
"""The extension's code (NIFTI_ECODE_CARET)."""
_MULTIPLE, _HEAD = 16, 8  # an extension's size with its head, in bytes
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def caret_extension(table: LabelTable) -> bytes:
    r"""The content of the extension: XML in UTF-8, filled up with spaces to a size that NIfTI has.

    Characters that XML cannot hold become U+FFFD. The background is there too, transparent.

    >>> content = caret_extension(LabelTable.of(["background", "a & b"]))
    >>> content[:56].decode()
    '<?xml version="1.0" encoding="UTF-8"?>\n<CaretExtension>\n'
    >>> (len(content) + 8) % 16
    0
    """
    lines = "\n".join(_label(label) for label in table)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<CaretExtension>\n<VolumeInformation Index="0">\n'
        f"<LabelTable>\n{lines}\n</LabelTable>\n<StudyMetaDataLinkSet>\n</StudyMetaDataLinkSet>\n"
        "<VolumeType><![CDATA[Label]]></VolumeType>\n</VolumeInformation>\n</CaretExtension>\n"
    )
    content = text.encode()
    return content + b" " * (-(len(content) + _HEAD) % _MULTIPLE)


def _label(label: Label) -> str:
    red, green, blue = (f"{one / 255:.6g}" for one in label.color)
    name = _NOT_XML.sub("\ufffd", label.name).replace("]]>", "]]]]><![CDATA[>")
    return (
        f'<Label Key="{label.value}" Red="{red}" Green="{green}" Blue="{blue}" '
        f'Alpha="{1 if label.value else 0}"><![CDATA[{name}]]></Label>'
    )
