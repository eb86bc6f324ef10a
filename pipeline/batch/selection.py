"""The cases in what a user gives as input of an inference, and the check before it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from ...data.inputs.find import Inputs, find_cases
from ...data.inputs.lists import LIST_SUFFIXES
from ...data.walk import PassedOver, walk_files
from .results.table_file import is_output_folder
from .shards.listing import shared_listing
from .shards.shard import chosen_shard

_OF_A_DATASET = ("imagesTr", "labelsTr", "imagesTs", "labelsTs")


def folder_inputs(
    input_dir: str | Path,
    *,
    output_dir: str | Path,
    recursive: bool = True,
    flat: bool = False,
    modality: str | None = "CT",
    channels: int = 1,
    shard: str | None = None,
) -> Inputs:
    """The cases of what a user gives as input (see find_cases), and what was passed over.

    Shards of one run look once, see shared_listing.

    An input that is not there gives no cases, so that a bundle's config can be looked at without
    data; `check_folder` refuses it when the run starts. The output folder is not looked into.

    Raises:
        ConfigError: there is no image in it, or it is the output folder.
    """
    path = Path(input_dir)
    if not path.exists():
        return Inputs([], [])
    _refuse_same_folder(path, output_dir)
    how: dict[str, Any] = {"recursive": recursive, "flat": flat, "modality": modality}
    how["channels"] = channels
    one = path.is_file() and path.suffix.lower() not in LIST_SUFFIXES
    if one or chosen_shard(shard) is None:  # one file is soon looked at
        return _found(path, output_dir, how)
    what = [os.path.abspath(path), sorted(how.items())]
    return shared_listing(output_dir, what, lambda: _found(path, output_dir, how))


def _found(path: Path, output_dir: str | Path, how: dict[str, Any]) -> Inputs:
    earlier = [
        folder for folder in _output_folders(path) if folder.resolve() != Path(output_dir).resolve()
    ]
    exclude = [output_dir, *earlier]
    found = find_cases(path, exclude=exclude, **how)
    told = [PassedOver(str(folder), "masks of an earlier run, no scans") for folder in earlier]
    return Inputs(found.cases, [*found.passed_over, *told])


def check_folder(input_dir: str | Path, output_dir: str | Path) -> None:
    """Before inferring: the input is there, and the masks will not lie among the images.

    Raises:
        ConfigError: no such file or folder, or output_dir is the folder of the images, or one of a
            dataset's own.
    """
    path = Path(input_dir)
    if not path.exists():
        raise ConfigError(
            f"{input_dir}: there is no such file or folder; give --input_dir FOLDER with CTs"
        )
    _refuse_same_folder(path, output_dir)
    folder = Path(output_dir).resolve()
    if folder.name in _OF_A_DATASET and (folder.parent / "dataset.json").is_file():
        raise ConfigError(
            f"{output_dir}: this is a folder of the dataset {folder.parent}; masks there would be "
            "taken for its files; give another --output_dir"
        )


def _output_folders(path: Path) -> list[Path]:
    """Folders inside a folder in which an earlier run left its masks."""
    if not path.is_dir():
        return []
    # links to folders are followed, as they are where scans are looked for
    inside = {file.parent for file, error in walk_files(path) if error is None} - {path}
    return sorted(folder for folder in inside if is_output_folder(folder))


def _refuse_same_folder(path: Path, output_dir: str | Path) -> None:
    folder = path.parent if path.is_file() and path.suffix.lower() not in LIST_SUFFIXES else path
    if folder.resolve() == Path(output_dir).resolve():
        raise ConfigError(
            f"{output_dir}: masks would overwrite the images there; give another --output_dir"
        )
