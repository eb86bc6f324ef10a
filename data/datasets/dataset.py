"""A dataset folder in the Decathlon's layout: dataset.json, imagesTr/, labelsTr/, imagesTs/.

Both forms of dataset.json are read: the Decathlon's with a list of cases, and nnU-Net's without
one, where the folders are the list and a channel may be a file of its own (case_0000.nii.gz).
"""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..files import write_atomically
from ..images.reading import case_id
from .pairing import pair_cases, scan_tests

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """One subject.

    Args:
        id: unique within its dataset.
        images: one file, or one a channel in the order of the dataset's channel names.
        label: the label map's file; None where there is none.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class Dataset:
    """What a dataset folder holds.

    Args:
        root: the folder.
        labels: name -> value in the label maps, ordered by value; "background" 0 is always there.
        channel_names: what the channels are, such as ("CT",).
        cases: the training cases, each with a label, sorted by id.
        test_cases: the others, sorted by id.
    """

    root: Path
    name: str
    labels: dict[str, int]
    channel_names: tuple[str, ...]
    cases: tuple[Case, ...]
    test_cases: tuple[Case, ...]


def load_dataset(dataset_dir: str | Path) -> Dataset:
    """Read a dataset folder's dataset.json and find its files; no image is opened.

    Args:
        dataset_dir: holds dataset.json; either form.

    Raises:
        DatasetError: names the file: no or broken dataset.json, a missing or unusable entry,
            region-style labels, a listed file that is absent or outside the folder, an image
            without label or a label without image, an id twice.
    """
    root = Path(dataset_dir)
    source = root / "dataset.json"
    content = _read_json(source)
    labels = _labels(content, source)
    channel_names = _channel_names(content, source)
    if "training" in content:
        cases = [
            _listed(entry, root, source, labelled=True)
            for entry in _list(content, "training", source)
        ]
        tests = [
            _listed(entry, root, source, labelled=False) for entry in _list(content, "test", source)
        ]
    else:
        ending = content.get("file_ending")
        if ending is not None and not isinstance(ending, str):
            raise DatasetError(f"{source}: file_ending is {ending!r}, not text such as '.nii.gz'")
        pairs, by_channel = pair_cases(root / "imagesTr", root / "labelsTr", ending)
        cases = [Case(name, images, label) for name, images, label in pairs]
        tests = [
            Case(name, images, None)
            for name, images in scan_tests(root / "imagesTs", ending, by_channel)
        ]
    if not cases and not tests:
        raise DatasetError(
            f"{source}: the dataset has no cases; put scans into imagesTr and label maps into "
            "labelsTr"
        )
    _check_unique([*cases, *tests], source)
    for case in (*cases, *tests):
        if len(case.images) not in (1, len(channel_names)):
            raise DatasetError(
                f"{source}: case {case.id} has {len(case.images)} image files, the dataset "
                f"{len(channel_names)} channels ({', '.join(channel_names)})"
            )
    announced = content.get("numTraining", len(cases))
    if announced != len(cases):
        _LOG.warning(
            "%s: numTraining is %s, but there are %d training cases", source, announced, len(cases)
        )
    name = content.get("name") or root.resolve().name
    return Dataset(root, str(name), labels, channel_names, _by_id(cases), _by_id(tests))


def write_dataset_json(
    root: str | Path,
    name: str,
    labels: Mapping[str, int],
    channel_names: Sequence[str],
    cases: Sequence[Case] | int,
    *,
    file_ending: str = ".nii.gz",
    **more: str | int | float,
) -> Path:
    """Write the dataset.json of a folder that is filled already; the form without a list of cases.

    Args:
        root: the dataset folder.
        labels: name -> value, "background" 0 included.
        channel_names: in the order of the channels.
        cases: the training cases, or how many they are.
        file_ending: of all images and label maps.
        more: further entries, such as description or licence.

    Returns:
        The file's path.

    Raises:
        OutputError: it cannot be written.
    """
    content = {
        "name": name,
        **more,
        "channel_names": {str(number): channel for number, channel in enumerate(channel_names)},
        "labels": {label: int(value) for label, value in labels.items()},
        "numTraining": cases if isinstance(cases, int) else len(cases),
        "file_ending": file_ending,
    }
    path = Path(root) / "dataset.json"
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))
    return path


def _read_json(source: Path) -> dict[str, Any]:
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


def _labels(content: dict[str, Any], source: Path) -> dict[str, int]:
    entries = content.get("labels")
    if not isinstance(entries, dict) or not entries:
        raise DatasetError(
            f'{source}: has no "labels"; add them, as {{"background": 0, "liver": 1}}'
        )
    old_form = all(key.isdigit() for key in entries)
    labels: dict[str, int] = {}
    for key, entry in entries.items():
        if isinstance(entry, list):
            raise DatasetError(
                f"{source}: label {key!r} is a region ({entry}); regions are not supported, list "
                "plain labels"
            )
        name, value = (str(entry), key) if old_form else (key, entry)
        if isinstance(value, bool | float) or not str(value).isdigit():
            raise DatasetError(
                f"{source}: label {name!r} has the value {value!r}, not a whole number from 0 up"
            )
        if name in labels or int(value) in labels.values():
            raise DatasetError(f"{source}: label {name!r} or its value {value} is there twice")
        labels[name] = int(value)
    if 0 not in labels.values():
        if "background" in labels:
            raise DatasetError(
                f"{source}: background has the value {labels['background']}, it must be 0"
            )
        labels["background"] = 0
    return dict(sorted(labels.items(), key=lambda item: item[1]))


def _channel_names(content: dict[str, Any], source: Path) -> tuple[str, ...]:
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


def _list(content: dict[str, Any], key: str, source: Path) -> list[Any]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise DatasetError(f"{source}: {key!r} is a {type(entries).__name__}, not a list of cases")
    return entries


def _listed(entry: Any, root: Path, source: Path, *, labelled: bool) -> Case:
    if isinstance(entry, str) and not labelled:
        entry = {"image": entry}
    if not isinstance(entry, dict) or "image" not in entry:
        raise DatasetError(f"{source}: the case {entry!r} has no 'image'")
    named = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
    if not named:
        raise DatasetError(f"{source}: the case {entry!r} has no 'image'")
    images = tuple(_inside(name, root, source) for name in named)
    if not labelled:
        return Case(case_id(images[0]), images, None)
    if not entry.get("label"):
        raise DatasetError(
            f"{source}: the training image {named[0]} has no label; add it, or move the case to "
            "'test'"
        )
    label = _inside(entry["label"], root, source)
    return Case(case_id(label), images, label)


def _inside(name: Any, root: Path, source: Path) -> Path:
    """The path of a listed file.

    Links are followed: a dataset may keep its images elsewhere, its list may not.
    """
    if not isinstance(name, str):
        raise DatasetError(f"{source}: {name!r} is not the path of a file")
    relative = os.path.normpath(name)
    if os.path.isabs(relative) or relative.split(os.sep)[0] == os.pardir:
        raise DatasetError(f"{source}: {name} lies outside the dataset folder; use paths inside it")
    path = root / relative
    if not path.is_file():
        raise DatasetError(f"{source}: lists {name}, but {path} does not exist")
    return path


def _check_unique(cases: Iterable[Case], source: Path) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if case.id in seen:
            raise DatasetError(
                f"{source}: the id {case.id} is there twice "
                f"({seen[case.id].images[0]} and {case.images[0]}); rename one"
            )
        seen[case.id] = case


def _by_id(cases: Iterable[Case]) -> tuple[Case, ...]:
    return tuple(sorted(cases, key=lambda case: case.id))
