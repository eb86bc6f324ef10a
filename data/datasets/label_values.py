"""The values of a label map: counted, checked against those that are known, turned into states."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .label_map import IGNORE, LabelMap

_NAMED = 6  # values that an error lists
_COUNTED = 2**16  # values below are counted by a table, the others by sorting
_PIECE = 2**22  # voxels


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
    unannotated: Collection[str] = (),
) -> dict[int | float, int]:
    """How many voxels of a label map have each value, each of which must be named.

    Args:
        array: a label map, any shape.
        label_map: of `label_map`; where it is empty, values are channels already.
        case: the case's id, for the error.
        source: the label map's file, for the error.
        channels: how many there are, the background with them; checked where `label_map` is empty.
        unannotated: the dataset's labels that this case does not have annotated.

    Raises:
        DatasetError: names the file, the case, and the values that the map does not name, or that
            the case does not declare as annotated, with their counts.
    """
    present = count_values(array)
    unnamed = {
        value: count
        for value, count in present.items()
        if not (value in label_map if label_map else _is_channel(value, channels))
    }
    if unnamed:
        raise _unnamed(unnamed, array.size, case, source, channels if not label_map else None)
    forbidden = LabelMap.of(label_map).forbidden_values(unannotated)
    for value, name in forbidden.items():
        if value in present:
            raise DatasetError(
                f"{source}: case {case} holds {present[value]} voxels of {name} ({value}), which "
                'dataset.json\'s "annotated" does not name for this case; add it there, or take '
                "the label out of the map"
            )
    return present


def map_values(
    array: NDArray[np.generic],
    label_map: Mapping[int, int],
    *,
    case: str,
    source: str,
    channels: int | None = None,
    unannotated: Collection[str] = (),
) -> NDArray[np.generic]:
    """A label map's values turned into channels, or into the bits of regions; see `LabelMap`.

    Args:
        array: a label map, any shape.
        label_map: as for `check_values`, and so are the others.
        case: the case's id.
        source: the label map's file.
        channels: how many there are.
        unannotated: the dataset's labels that this case does not have annotated. What counts to a
            channel that is made of one of them becomes background.

    Returns:
        The states, of the array's type where it holds them, and the array itself when nothing
        changes; IGNORE, -1, where voxels are to be ignored.

    Raises:
        DatasetError: the array holds values that the map does not name, or that the case does not
            declare as annotated.
    """
    known = LabelMap.of(label_map)
    if known.regions and not known:
        raise DatasetError(
            f"{source}: which values make the regions nobody has said; give --dataset_dir FOLDER "
            'with a dataset.json of the regions, such as "whole": [1, 2], "core": 2'
        )
    present = check_values(
        array, known, case=case, source=source, channels=channels, unannotated=unannotated
    )
    missing = [
        channel
        for channel, there in enumerate(known.annotated_channels(unannotated, channels or 0))
        if not there
    ]
    wanted = {int(value): _without(known[int(value)], missing, known) for value in present if known}
    changed = {value: state for value, state in wanted.items() if value != state}
    if not changed:
        return array
    dtype = array.dtype
    for state in (min(changed.values()), max(changed.values())):
        if dtype.kind in "iub" and not _holds(dtype, state):
            dtype = np.promote_types(
                np.uint8 if dtype.kind == "b" else dtype, np.min_scalar_type(state)
            )
    result = array.astype(dtype)
    for value, state in changed.items():
        result[array == value] = state
    return result


def _holds(dtype: np.dtype[np.generic], value: int) -> bool:
    if dtype.kind == "b":
        return value in (0, 1)
    info = np.iinfo(np.dtype(dtype.name))
    return bool(info.min <= value <= info.max)


def _without(state: int, missing: Collection[int], known: LabelMap) -> int:
    """A state without the channels that a case does not have annotated."""
    if state == IGNORE or not missing:
        return state
    if not known.regions:
        return 0 if state in missing else state
    for channel in missing:
        state &= ~(1 << (channel - 1))
    return state


def _count_any(array: NDArray[np.generic]) -> dict[int | float, int]:
    values, numbers = np.unique(array, return_counts=True)
    return {
        int(value) if float(value).is_integer() else float(value): int(number)
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True)
    }


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
