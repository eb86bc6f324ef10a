"""Values in a dataset's label maps -> the channels of a bundle's network; no value goes unnamed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DatasetError
from .dataset import Dataset, load_dataset
from .entries import IGNORE_NAME

IGNORE = -1
"""In the place of a channel: these voxels count as no label at all, not even as background."""


class Part(NamedTuple):
    """A label of the dataset: its values in the label maps, and the channel they count to."""

    values: tuple[int, ...]
    channel: int


class LabelMap(dict[int, int]):
    """Value in a dataset's label maps -> a voxel's state, and which label of the dataset is what.

    A state is the number of a channel of the bundle's network; of a bundle with regions the bits of
    those that hold the voxel, bit 0 for channel 1; IGNORE for voxels that count as nothing.

    Args:
        states: value -> state.
        parts: the dataset's foreground labels by name.
        regions: states are bits.
    """

    def __init__(
        self,
        states: Mapping[int, int] | None = None,
        *,
        parts: Mapping[str, Part] | None = None,
        regions: bool = False,
    ) -> None:
        super().__init__({int(value): int(state) for value, state in (states or {}).items()})
        self.parts = dict(parts or {})
        self.regions = regions

    @classmethod
    def of(cls, states: Mapping[int, int] | None) -> LabelMap:
        """A mapping as a LabelMap; one that is one already as it is."""
        return states if isinstance(states, LabelMap) else cls(states)

    def __repr__(self) -> str:
        return f"LabelMap({dict(self)}, parts={self.parts}, regions={self.regions})"

    def __reduce__(self) -> Any:
        return _made, (dict(self), self.parts, self.regions)

    def annotated_channels(self, unannotated: Iterable[str], count: int) -> tuple[bool, ...]:
        """Whether each of `count` channels is annotated: all labels that it is made of are.

        Args:
            unannotated: labels of the dataset.

        >>> parts = {"liver": Part((1,), 1), "tumour": Part((2,), 1), "spleen": Part((3,), 2)}
        >>> LabelMap({0: 0, 1: 1, 2: 1, 3: 2}, parts=parts).annotated_channels(["tumour"], 3)
        (True, False, True)
        """
        missing = {self.parts[name].channel for name in unannotated if name in self.parts}
        return tuple(channel == 0 or channel not in missing for channel in range(count))

    def forbidden_values(self, unannotated: Iterable[str]) -> dict[int, str]:
        """Value -> its label, of values that cannot be in a case without these annotations."""
        names = [name for name in unannotated if name in self.parts]
        told = {
            value for name, part in self.parts.items() if name not in names for value in part.values
        }
        return {
            value: name for name in names for value in self.parts[name].values if value not in told
        }


def _made(states: dict[int, int], parts: dict[str, Part], regions: bool) -> LabelMap:
    return LabelMap(states, parts=parts, regions=regions)


def label_map(
    dataset_dir: str | Path | None,
    *,
    labels: Sequence[str],
    merge_labels: Mapping[str | int, str] | None = None,
    region_values: Sequence[int] | None = None,
) -> LabelMap:
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
        region_values: of a bundle whose labels overlap, see Plan; the map's states are bits then.

    Raises:
        DatasetError: the dataset has a label that the bundle has not, lacks one of the bundle's, or
            a label is merged into one that the bundle has not; its labels are regions and the
            bundle's are not.
    """
    if dataset_dir is None or not Path(dataset_dir).is_dir():
        return LabelMap(regions=region_values is not None)
    dataset = load_dataset(dataset_dir)
    if dataset.regions is not None and region_values is None:
        raise DatasetError(
            f"{dataset.root}/dataset.json: its labels are regions, which overlap; this bundle's "
            "labels exclude each other. Use a bundle whose plan has regions"
        )
    merged = {
        _spelt(str(source)): _spelt(str(target)) for source, target in (merge_labels or {}).items()
    }
    channel = {_spelt(name): index for index, name in enumerate(labels)}
    channel.setdefault("background", 0)
    channel.setdefault(IGNORE_NAME, IGNORE)
    found = _targets(dataset, merged)
    reached = {channel.get(name) for _, name in found}
    if reached - {IGNORE} != set(range(len(labels))):
        raise DatasetError(
            f"{dataset.root}/dataset.json: its labels are {', '.join(dataset.labels)}; this "
            f"bundle's are {', '.join(labels)}. Use a bundle for this dataset, or count labels as "
            'others by --merge_labels, such as --merge_labels "{cancer: pancreas, cyst: '
            'background}"'
        )
    return _made_of(dataset, found, channel, regions=region_values is not None)


def _made_of(
    dataset: Dataset,
    found: Sequence[tuple[tuple[int, ...], str]],
    channel: Mapping[str, int],
    *,
    regions: bool,
) -> LabelMap:
    """The map of values and the names that they are counted as."""
    parts = {
        name: Part(values, channel[target])
        for (name, values), (_, target) in zip(_named(dataset).items(), found, strict=False)
        if values != (0,) and name != IGNORE_NAME
    }
    states: dict[int, int] = {}
    for values, target in found:
        for value in values:
            states[value] = _state(states.get(value, 0), channel[target], bits=regions)
    return LabelMap(states, parts=parts, regions=regions)


def _state(before: int, channel: int, *, bits: bool) -> int:
    """A voxel's state when it counts to one more channel."""
    if IGNORE in (before, channel):
        return IGNORE
    if not bits:
        return channel
    return before | (1 << (channel - 1) if channel else 0)


def _named(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """The values of each label of a dataset, the background and "ignore" among them."""
    if dataset.regions is not None:
        named = {"background": (0,), **dataset.regions}
    else:
        named = {name: (value,) for name, value in dataset.labels.items()}
    return named if dataset.ignore is None else {**named, IGNORE_NAME: (dataset.ignore,)}


def _targets(dataset: Dataset, merged: Mapping[str, str]) -> list[tuple[tuple[int, ...], str]]:
    """Values and the name that they are counted as: of the dataset's labels, then those merged."""
    named = _named(dataset)
    found = []
    for name, values in named.items():
        spelt = _spelt(name)
        own = "background" if values == (0,) else spelt
        by_value = merged.get(str(values[0]), own) if dataset.regions is None else own
        found.append((values, merged.get(spelt, by_value)))
    spelt_names = {_spelt(name) for name in named}
    known = {value for values in named.values() for value in values}
    for source, target in merged.items():
        number = _as_value(source)
        if number is not None and source not in spelt_names and number not in known:
            found.append(((number,), target))
    return found


def _as_value(text: str) -> int | None:
    """The whole number that a key of merge_labels is ("_1" was "-1"); None for a name."""
    digits = text[1:] if text.startswith("_") else text
    if not digits.isdigit():
        return None
    return -int(digits) if text.startswith("_") else int(digits)


def _spelt(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")
