"""What dataset.json says about a dataset as a whole: its labels and its channels."""

import json
from pathlib import Path
from typing import Any

from ..errors import DatasetError

IGNORE_NAME = "ignore"
"""nnU-Net's name for voxels that count neither in the loss nor in the metrics."""


def read_dataset_json(source: Path) -> dict[str, Any]:
    """The entries of a dataset.json.

    Raises:
        DatasetError: it is missing, cannot be read, or is no JSON object.
    """
    try:
        content = json.loads(source.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DatasetError(
            f"{source}: does not exist; a dataset folder holds dataset.json, imagesTr, labelsTr"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{source}: is not valid JSON ({error}); correct it") from None
    except OSError as error:
        raise DatasetError(f"{source}: cannot be read ({error.strerror})") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{source}: holds a {type(content).__name__}, not an object of entries")
    return content


def labels_and_ignore(content: dict[str, Any], source: Path) -> tuple[dict[str, int], int | None]:
    """The labels by name, and the value of the label "ignore".

    Both directions are read: name -> value (nnU-Net v2) and value -> name (the Decathlon, nnU-Net
    v1).

    Returns:
        name -> value ordered by value, "background" 0 included and "ignore" not; and the value of
        "ignore", None where it is not named.

    Raises:
        DatasetError: no labels, regions, a value that is no whole number, a name or value twice,
            another background than 0.
    """
    entries = content.get("labels")
    if not isinstance(entries, dict) or not entries:
        raise DatasetError(
            f'{source}: has no "labels"; add them, as {{"background": 0, "liver": 1}}'
        )
    by_value = all(key.isdigit() for key in entries)
    labels: dict[str, int] = {}
    for key, entry in entries.items():
        if isinstance(entry, list):
            raise DatasetError(
                f"{source}: label {key!r} is a region ({entry}); regions are not supported, list "
                "plain labels that do not overlap, one value each"
            )
        name, number = (str(entry), key) if by_value else (key, entry)
        value = _value(name, number, source)
        if name in labels or value in labels.values():
            raise DatasetError(f"{source}: label {name!r} or its value {value} is there twice")
        labels[name] = value
    ignored = [name for name in labels if name.lower() == IGNORE_NAME and labels[name] != 0]
    ignore = labels.pop(ignored[0]) if ignored else None
    if 0 not in labels.values():
        if "background" in labels:
            raise DatasetError(
                f"{source}: background has the value {labels['background']}, it must be 0"
            )
        labels["background"] = 0
    return dict(sorted(labels.items(), key=lambda item: item[1])), ignore


def channel_names(content: dict[str, Any], source: Path) -> tuple[str, ...]:
    """The channels' names in order, from "channel_names" (nnU-Net v2) or "modality" (the others).

    Raises:
        DatasetError: there are none, or they are not numbered from 0 up.
    """
    names = content.get("channel_names", content.get("modality"))
    if isinstance(names, dict) and names:
        if sorted(names) != sorted(str(number) for number in range(len(names))):
            raise DatasetError(
                f"{source}: the channels are numbered {sorted(names)}, not from 0 up"
            )
        return tuple(str(names[str(number)]) for number in range(len(names)))
    if isinstance(names, list) and names:
        return tuple(str(name) for name in names)
    raise DatasetError(
        f'{source}: has no "channel_names" (or "modality"); add them, as {{"0": "CT"}}'
    )


def _value(name: str, number: Any, source: Path) -> int:
    """A label's value, written as 1, "1" or 1.0."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool | float) or not str(number).isdigit():
        raise DatasetError(
            f"{source}: label {name!r} has the value {number!r}, not a whole number from 0 up"
        )
    return int(number)
