"""Values in a dataset's label maps -> the channels of a bundle's network; no value goes unnamed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .dataset import Dataset, load_dataset
from .entries import IGNORE_NAME

IGNORE = -1
"""In the place of a channel: these voxels count as no label at all, not even as background."""

_NAMED = 6  # values that an error lists
_COUNTED = 2**16  # values below are counted by a table, the others by sorting
_PIECE = 2**22  # voxels


def label_map(
    dataset_dir: str | Path | None,
    *,
    labels: Sequence[str],
    merge_labels: Mapping[str | int, str] | None = None,
) -> dict[int, int]:
    """Value in a dataset's label maps -> the bundle's channel, by the labels' names.

    Every value that a label map may hold is a key; `map_values` refuses any other. A label that
    dataset.json calls "ignore" gets IGNORE in the place of a channel.

    Args:
        dataset_dir: the dataset folder; None, or one that is not there, gives an empty map: the
            values are channels already, which MapLabelsd checks.
        labels: names of the bundle's channels in order, the background first. Case, spaces and
            dashes do not count.
        merge_labels: a label of the dataset by its name, or any value of its label maps, named in
            dataset.json or not -> the bundle's label that it is counted as, or "background" or
            "ignore": {"cancer": "pancreas", 255: "background"}.

    Raises:
        DatasetError: the dataset has a label that the bundle has not, lacks one of the bundle's, or
            a label is merged into one that the bundle has not.
    """
    if dataset_dir is None or not Path(dataset_dir).is_dir():
        return {}
    dataset = load_dataset(dataset_dir)
    merged = {
        _spelt(str(source)): _spelt(str(target)) for source, target in (merge_labels or {}).items()
    }
    channel = {_spelt(name): index for index, name in enumerate(labels)}
    channel.setdefault("background", 0)
    channel.setdefault(IGNORE_NAME, IGNORE)
    found = _targets(dataset, merged)
    reached = {channel.get(name) for name in found.values()}
    if reached - {IGNORE} != set(range(len(labels))):
        raise DatasetError(
            f"{dataset.root}/dataset.json: its labels are {', '.join(dataset.labels)}; this "
            f"bundle's are {', '.join(labels)}. Use a bundle for this dataset, or count labels as "
            'others by --merge_labels, such as --merge_labels "{cancer: pancreas, cyst: '
            'background}"'
        )
    return {value: channel[name] for value, name in found.items()}


def count_values(array: NDArray[np.generic]) -> dict[int | float, int]:
    """How many voxels of a label map have each value; values that are whole are int.

    Args:
        array: any shape, integers or floating point.
    """
    if array.dtype.kind not in "biu" or not array.size:
        return _count_any(array)
    flat = array.ravel(order="K")  # the array's own memory, where that is in one piece
    lowest, highest = int(flat.min()), int(flat.max())
    if lowest < 0 or highest >= _COUNTED:
        return _count_any(flat)
    counts = np.zeros(highest + 1, dtype=np.int64)
    for begin in range(0, flat.size, _PIECE):  # bincount makes an int64 copy of what it counts
        counts += np.bincount(flat[begin : begin + _PIECE], minlength=highest + 1)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def check_values(
    array: NDArray[np.generic],
    label_map: Mapping[int, int],
    *,
    case: str,
    source: str,
    channels: int | None = None,
) -> dict[int | float, int]:
    """How many voxels of a label map have each value, each of which must be named.

    Args:
        array: a label map, any shape.
        label_map: of `label_map`; where it is empty, values are channels already.
        case: the case's id, for the error.
        source: the label map's file, for the error.
        channels: how many there are, the background with them; checked where `label_map` is empty.

    Raises:
        DatasetError: names the file, the case, and the values that the map does not name, with
            their counts.
    """
    present = count_values(array)
    unnamed = {
        value: count
        for value, count in present.items()
        if not (value in label_map if label_map else _is_channel(value, channels))
    }
    if unnamed:
        raise _unnamed(unnamed, array.size, case, source, channels if not label_map else None)
    return present


def map_values(
    array: NDArray[np.generic],
    label_map: Mapping[int, int],
    *,
    case: str,
    source: str,
    channels: int | None = None,
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """A label map's values turned into channels.

    Args:
        array: a label map, any shape.
        label_map: as for `check_values`, and so are the others.
        case: the case's id.
        source: the label map's file.
        channels: how many there are.

    Returns:
        The channels, of the array's type, and the array itself when nothing changes; and where
        voxels are to be ignored (0 among the channels), None when nowhere.

    Raises:
        DatasetError: the array holds values that the map does not name.
    """
    present = check_values(array, label_map, case=case, source=source, channels=channels)
    wanted = {int(value): label_map[int(value)] for value in present} if label_map else {}
    changed = {value: channel for value, channel in wanted.items() if value != channel}
    if not changed:
        return array, None
    ignored_values = [value for value, channel in changed.items() if channel == IGNORE]
    ignored = np.isin(array, ignored_values) if ignored_values else None
    result = array.copy()
    for value, channel in changed.items():
        result[array == value] = max(channel, 0)
    return result, ignored


def _count_any(array: NDArray[np.generic]) -> dict[int | float, int]:
    values, numbers = np.unique(array, return_counts=True)
    return {
        int(value) if float(value).is_integer() else float(value): int(number)
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True)
    }


def _targets(dataset: Dataset, merged: Mapping[str, str]) -> dict[int, str]:
    """Value -> the name that it is counted as: of the dataset's labels, and of values merged."""
    named = dict(dataset.labels)
    if dataset.ignore is not None:
        named[IGNORE_NAME] = dataset.ignore
    found = {}
    for name, value in named.items():
        spelt = _spelt(name)
        own = "background" if value == 0 else spelt
        found[value] = merged.get(spelt, merged.get(str(value), own))
    spelt_names = {_spelt(name) for name in named}
    for source, target in merged.items():
        number = _as_value(source)
        if number is not None and source not in spelt_names and number not in found:
            found[number] = target
    return found


def _as_value(text: str) -> int | None:
    """The whole number that a key of merge_labels is ("_1" was "-1"); None for a name."""
    digits = text[1:] if text.startswith("_") else text
    if not digits.isdigit():
        return None
    return -int(digits) if text.startswith("_") else int(digits)


def _is_channel(value: int | float, channels: int | None) -> bool:
    whole = isinstance(value, int) and value >= 0
    return whole and (channels is None or value < channels)


def _unnamed(
    values: Mapping[int | float, int], size: int, case: str, source: str, channels: int | None
) -> DatasetError:
    told = ", ".join(
        f"{value:g} ({count} of {size} voxels)" for value, count in list(values.items())[:_NAMED]
    )
    more = f" and {len(values) - _NAMED} more values" if len(values) > _NAMED else ""
    if channels is not None:
        return DatasetError(
            f"{source}: case {case} holds the label values {told}{more}; the network's channels "
            f"are 0 to {channels - 1}: correct the label map, or map its values before training"
        )
    return DatasetError(
        f"{source}: case {case} holds label values that dataset.json does not name: {told}{more}. "
        "Correct the label map, name them in dataset.json, or say what they count as: "
        f'--merge_labels "{{{next(iter(values)):g}: background}}" (or a label, or ignore)'
    )


def _spelt(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")
