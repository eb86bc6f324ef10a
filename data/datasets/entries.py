"""What dataset.json says about a dataset as a whole: its labels and its channels."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DatasetError

IGNORE_NAME = "ignore"
"""nnU-Net's name for voxels that count neither in the loss nor in the metrics."""

_MOST_REGIONS = 15  # their bits are put into signed 16-bit numbers


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


class DatasetLabels(NamedTuple):
    """The labels of a dataset.

    Args:
        values: name -> value, "background" 0 included and "ignore" not; ordered by value. Of
            regions it is the value that each is written as, in the order of dataset.json.
        ignore: the value of "ignore"; None where it is not named.
        regions: name -> the values in the label maps that a region is made of, in the order in
            which later ones are written over earlier ones; None where labels do not overlap.
    """

    values: dict[str, int]
    ignore: int | None
    regions: dict[str, tuple[int, ...]] | None = None


def dataset_labels(content: dict[str, Any], source: Path) -> DatasetLabels:
    """The labels that a dataset.json names.

    Both directions are read: name -> value (nnU-Net v2) and value -> name (the Decathlon, nnU-Net
    v1). A label that is a list of values is a region, and then "regions_class_order" says, as in
    nnU-Net, which value each region is written as.

    Raises:
        DatasetError: no labels, a value that is no whole number, a name or value twice, another
            background than 0, regions without their order.
    """
    entries = content.get("labels")
    if not isinstance(entries, dict) or not entries:
        raise DatasetError(
            f'{source}: has no "labels"; add them, as {{"background": 0, "liver": 1}}'
        )
    if any(isinstance(entry, list) and len(entry) != 1 for entry in entries.values()):
        return _regions(entries, content.get("regions_class_order"), source)
    by_value = all(key.isdigit() for key in entries)
    labels: dict[str, int] = {}
    for key, entry in entries.items():
        entry = entry[0] if isinstance(entry, list) else entry
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
    return DatasetLabels(dict(sorted(labels.items(), key=lambda item: item[1])), ignore)


def _regions(entries: dict[str, Any], order: Any, source: Path) -> DatasetLabels:
    regions: dict[str, tuple[int, ...]] = {}
    ignore = None
    for name, entry in entries.items():
        values = [
            _value(name, one, source) for one in (entry if isinstance(entry, list) else [entry])
        ]
        if not values or len(set(values)) < len(values):
            raise DatasetError(f"{source}: the region {name!r} has no value, or one twice: {entry}")
        if name.lower() == IGNORE_NAME and len(values) == 1 and values != [0]:
            ignore = values[0]
        elif values == [0]:
            continue
        elif 0 in values or name == "background":
            raise DatasetError(
                f"{source}: {name!r} is {entry}; the background is 0 and in no region"
            )
        else:
            regions[name] = tuple(values)
    if any(ignore in values for values in regions.values()):
        raise DatasetError(f"{source}: the value {ignore} of 'ignore' is in a region too")
    if len(regions) > _MOST_REGIONS:
        raise DatasetError(f"{source}: {len(regions)} regions; {_MOST_REGIONS} at most can overlap")
    if not isinstance(order, list) or len(order) != len(regions):
        raise DatasetError(
            f'{source}: has {len(regions)} regions and "regions_class_order" {order!r}; it lists '
            "the value that each region is written as, in the order of the labels, later ones over "
            "earlier ones"
        )
    written = [_value(name, one, source) for name, one in zip(regions, order, strict=True)]
    if 0 in written or len(set(written)) < len(written):
        raise DatasetError(
            f'{source}: "regions_class_order" {order}: values from 1 up are wanted, each once'
        )
    named = dict(zip(regions, written, strict=True))
    return DatasetLabels({"background": 0, **named}, ignore, regions)


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
