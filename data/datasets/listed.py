"""The cases that dataset.json lists: in "training" and "test", or in nnU-Net v2's "dataset"."""

import glob
import os
import re
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..images.names import case_id

CaseFiles = tuple[str, tuple[Path, ...], Path | None]
"""A case's id, its image files in the order of channels, and its label file."""


def training_list(content: dict[str, Any], root: Path, source: Path) -> list[CaseFiles]:
    """The cases of "training", {"image": path, "label": path} each; the image may be a list.

    nnU-Net v1 lists `imagesTr/case.nii.gz` where `imagesTr/case_0000.nii.gz` (`_0001`, ... for
    further channels) is on disk: where the listed file is absent, these are taken.

    Raises:
        DatasetError: an entry that is no case, a file that is absent or outside the folder.
    """
    cases: list[CaseFiles] = []
    for entry in list_of_entries(content, "training", source):
        _, images, named = _images(entry, root, source)
        if not entry.get("label"):
            raise DatasetError(
                f"{source}: the training image {named} has no label; add it, or move the case to "
                "'test'"
            )
        label = _inside(entry["label"], root, source)
        if not label.is_file():
            raise _absent(entry["label"], label, source)
        cases.append((case_id(label), images, label))
    return cases


def unlabelled_list(content: dict[str, Any], root: Path, source: Path) -> list[CaseFiles]:
    """The cases of "test", each a path or {"image": path}; see `training_list`.

    Raises:
        DatasetError: as `training_list`.
    """
    entries = [
        {"image": entry} if isinstance(entry, str) else entry
        for entry in list_of_entries(content, "test", source)
    ]
    cases = (_images(entry, root, source) for entry in entries)
    return [(name, images, None) for name, images, _ in cases]


def mapped_cases(content: dict[str, Any], root: Path, source: Path) -> list[CaseFiles]:
    """The cases of nnU-Net v2's "dataset": id -> {"images": [a path per channel], "label": path}.

    As in nnU-Net, paths may be absolute or relative to the dataset folder, may lie outside of it,
    and environment variables in them ($DATA) are expanded.

    Raises:
        DatasetError: an entry that is no case, an id that is no file name, an absent file.
    """
    entries = content["dataset"]
    if not isinstance(entries, dict):
        raise DatasetError(
            f"{source}: 'dataset' is a {type(entries).__name__}, not an object of cases"
        )
    cases: list[CaseFiles] = []
    for name, entry in entries.items():
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise DatasetError(
                f"{source}: the id {name!r} in 'dataset' cannot be a file's name; rename the case"
            )
        images = entry.get("images") if isinstance(entry, dict) else None
        images = [images] if isinstance(images, str) else images
        if not isinstance(images, list) or not images or not entry.get("label"):
            raise DatasetError(
                f"{source}: the case {name} in 'dataset' needs 'images' (a list of files, one per "
                "channel) and 'label'"
            )
        files = [_anywhere(path, root, source) for path in (*images, entry["label"])]
        cases.append((name, tuple(files[:-1]), files[-1]))
    return cases


def list_of_entries(content: dict[str, Any], key: str, source: Path) -> list[Any]:
    """The list under a key of dataset.json; empty where there is none.

    Raises:
        DatasetError: it is no list.
    """
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise DatasetError(f"{source}: {key!r} is a {type(entries).__name__}, not a list of cases")
    return entries


def _images(entry: Any, root: Path, source: Path) -> tuple[str, tuple[Path, ...], str]:
    """The id by the first image's name, the image files, and the first image as it is listed."""
    if not isinstance(entry, dict) or not entry.get("image"):
        raise DatasetError(f"{source}: the case {entry!r} has no 'image'")
    named = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
    listed = [_inside(name, root, source) for name in named]
    if len(listed) == 1 and not listed[0].is_file():
        images = _channel_files(listed[0])
        if not images:
            raise _absent(named[0], listed[0], source)
        return case_id(listed[0]), images, named[0]
    for name, path in zip(named, listed, strict=True):
        if not path.is_file():
            raise _absent(name, path, source)
    return case_id(listed[0]), tuple(listed), named[0]


def _channel_files(listed: Path) -> tuple[Path, ...]:
    """The files case_0000, case_0001, ... that stand for a listed case (nnU-Net v1), if any."""
    stem = case_id(listed)
    suffix = listed.name[len(stem) :]
    found = listed.parent.glob(f"{glob.escape(stem)}_[0-9][0-9][0-9][0-9]{glob.escape(suffix)}")
    channels = {int(re.findall(r"\d{4}", path.name[len(stem) :])[0]): path for path in found}
    if sorted(channels) != list(range(len(channels))):
        raise DatasetError(
            f"{listed}: the case has files of the channels {sorted(channels)}, not 0 up to "
            f"{max(channels)}; add the missing files"
        )
    return tuple(channels[number] for number in sorted(channels))


def _inside(name: Any, root: Path, source: Path) -> Path:
    """The path of a listed file, which may be absent.

    Links are followed: a dataset may keep its images elsewhere, its list may not. Windows'
    backslashes separate folders where no file has them in its name.
    """
    if not isinstance(name, str):
        raise DatasetError(f"{source}: {name!r} is not the path of a file")
    text = name if (root / name).is_file() else name.replace("\\", "/")
    relative = os.path.normpath(text)
    if os.path.isabs(relative) or relative.split(os.sep)[0] == os.pardir:
        raise DatasetError(f"{source}: {name} lies outside the dataset folder; use paths inside it")
    return root / relative


def _anywhere(name: Any, root: Path, source: Path) -> Path:
    if not isinstance(name, str):
        raise DatasetError(f"{source}: {name!r} is not the path of a file")
    path = root / os.path.expandvars(name)  # an absolute path stays as it is
    if not path.is_file():
        raise _absent(name, path, source)
    return path


def _absent(name: str, path: Path, source: Path) -> DatasetError:
    return DatasetError(f"{source}: lists {name}, but {path} does not exist")
