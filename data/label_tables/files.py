"""Labels as files beside the masks: for nnU-Net, 3D Slicer and ITK-SNAP."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from .table import LabelTable

JSON, CTBL, SNAP = "labels.json", "labels.ctbl", "labels.label"
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def label_files(
    table: LabelTable, *, file_ending: str, channels: Sequence[str]
) -> Mapping[str, bytes]:
    """File name -> content of the tables that lie beside masks.

    Args:
        file_ending: of the masks.
        channels: names of the image's channels.
    """
    return {
        JSON: labels_json(table, file_ending=file_ending, channels=channels).encode(),
        CTBL: labels_ctbl(table).encode(errors="replace"),
        SNAP: labels_label(table).encode(errors="replace"),
    }


def labels_json(table: LabelTable, *, file_ending: str, channels: Sequence[str]) -> str:
    """The labels as nnU-Net v2's dataset.json has them, and their colours.

    nnU-Net's evaluation takes it for the dataset.json, and for the plans as well, of which it only
    asks for a label manager of another kind.

    >>> table = LabelTable.of(["background", "liver"])
    >>> json.loads(labels_json(table, file_ending=".nii.gz", channels=["CT"]))["labels"]
    {'background': 0, 'liver': 1}
    """
    content = {
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": {label.name: label.value for label in table},
        "numTraining": 0,
        "file_ending": file_ending,
        "colors": {label.name: list(label.color) for label in table.foreground},
    }
    return json.dumps(content, indent=4) + "\n"


def labels_ctbl(table: LabelTable) -> str:
    """The labels as a colour table of 3D Slicer, which writes a space in a name as "_".

    >>> print(labels_ctbl(LabelTable.of(["background", "left kidney"])), end="")
    # Color table file labels.ctbl
    # 2 values
    0 background 0 0 0 0
    1 left_kidney 214 161 94 255
    """
    lines = [f"# Color table file {CTBL}", f"# {len(table.labels)} values"]
    for label in table:
        name = _SPACE.sub("_", label.name) or "_"
        lines.append(f"{label.value} {name} {_numbers(label.color)} {255 if label.value else 0}")
    return "\n".join(lines) + "\n"


def labels_label(table: LabelTable) -> str:
    """The labels as ITK-SNAP's label descriptions; a double quote in a name becomes a single one.

    >>> print(labels_label(LabelTable.of(["background", "liver"])).splitlines()[-1])
        1   193   92   57        1  1  1    "liver"
    """
    lines = [
        "################################################",
        "# ITK-SnAP Label Description File",
        "# Columns: value, red, green, blue (0 to 255), opacity (0 to 1), shown, mesh shown, name",
        "################################################",
    ]
    for label in table:
        red, green, blue = label.color
        shown = 1 if label.value else 0
        name = _SPACE.sub(" ", label.name).replace('"', "'")
        lines.append(
            f"{label.value:5d} {red:5d} {green:4d} {blue:4d} {shown:8d}  {shown}  {shown}    "
            f'"{name}"'
        )
    return "\n".join(lines) + "\n"


def _numbers(values: Sequence[int]) -> str:
    return " ".join(map(str, values))
