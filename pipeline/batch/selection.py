"""From folders to the lists of cases that the three workflows run over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.datasets.dataset import load_dataset
from ...data.datasets.folds import load_or_make_splits
from ...data.datasets.label_map import label_map
from ...data.datasets.parts import Part, dataset_cases, part_cases
from ...data.datasets.placement import check_placements
from ...data.errors import ConfigError, DatasetError
from ...data.files import write_atomically
from ...data.inputs.find import Inputs, find_cases
from ...data.inputs.lists import LIST_SUFFIXES
from ...data.inputs.walk import PassedOver
from ..models.checkpoints import LAST, training_folder
from .results import is_output_folder

__all__ = ["check_dataset", "check_folder", "dataset_cases", "folder_inputs", "label_map"]

SETTINGS, SPLITS = "settings.json", "splits.json"  # what a training leaves beside its weights


def folder_inputs(
    input_dir: str | Path,
    *,
    output_dir: str | Path,
    recursive: bool = True,
    flat: bool = False,
    modality: str | None = "CT",
    channels: int = 1,
) -> Inputs:
    """The cases of whatever a user gives as input (see data.inputs.find_cases), and what was passed over.

    An input that is not there gives no cases, so that a bundle's config can be looked at without
    data; `check_folder` refuses it when the run starts. The output folder is not looked into.

    Raises:
        ConfigError: there is no image in it, or it is the output folder.
    """
    path = Path(input_dir)
    if not path.exists():
        return Inputs([], [])
    _refuse_same_folder(path, output_dir)
    earlier = [
        folder for folder in _output_folders(path) if folder.resolve() != Path(output_dir).resolve()
    ]
    exclude = [output_dir, *earlier]
    found = find_cases(
        path,
        recursive=recursive,
        flat=flat,
        modality=modality,
        channels=channels,
        exclude=exclude,
    )
    told = [PassedOver(str(folder), "masks of an earlier run, no scans") for folder in earlier]
    return Inputs(found.cases, [*found.passed_over, *told])


def check_dataset(
    dataset_dir: str | Path,
    *,
    channels: int = 1,
    part: Part = "train",
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    output_dir: str | Path | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    checkpoint: str | Path | Sequence[str | Path] | None = None,
) -> None:
    """Before a training or evaluation: the dataset is there and fits the bundle; nothing would be overwritten.

    With an output_dir the splits are written to output_dir/splits.json, and fold and `settings` to
    settings.json.

    Args:
        settings: of a training; a run is resumed only with the same ones.
        checkpoint: of an evaluation; its validation cases must not be those that it was trained on.

    Raises:
        DatasetError: no such folder, no such fold, or images of other channels than the bundle's.
        ConfigError: the output folder holds an earlier training and `resume` is off, or it had
            other settings; or validation cases that the checkpoint was trained on.
    """
    if not Path(dataset_dir).is_dir():
        raise DatasetError(
            f"{dataset_dir}: there is no such dataset folder; give --dataset_dir FOLDER with a "
            "dataset.json, "
            "imagesTr and labelsTr (make one with: gridgate phantom FOLDER)"
        )
    dataset = load_dataset(dataset_dir)
    if len(dataset.channel_names) != channels:
        raise DatasetError(
            f"{dataset.root}/dataset.json: images of {len(dataset.channel_names)} channels, the "
            f"bundle wants {channels}"
        )
    cases = part_cases(dataset_dir, part=part, fold=fold, folds=folds, split_seed=split_seed)
    if not cases:
        raise DatasetError(f"{dataset.root}: no {part} case in it")
    if part == "train":  # the validation's labels count too; an evaluation checks case by case
        validation = part_cases(
            dataset_dir, part="validation", fold=fold, folds=folds, split_seed=split_seed
        )
        check_placements([*cases, *validation])
    if checkpoint is not None and part == "validation":
        for path in [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint:
            _check_unseen(training_folder(path), [case.id for case in cases])
    if output_dir is None:
        return
    run = {"fold": fold, "folds": folds, "split_seed": split_seed, **(settings or {})}
    if (Path(output_dir) / LAST).exists() and not resume:
        raise ConfigError(
            f"{output_dir} holds a training already; add --resume True to go on with it, or give "
            "another --output_dir"
        )
    before = _read_json(Path(output_dir) / SETTINGS) if resume else {}
    changed = [f"{name} {before[name]}" for name in run if before.get(name, run[name]) != run[name]]
    if changed:
        raise ConfigError(
            f"{output_dir}: the training there has other settings; resume it with "
            f"{', '.join(changed)}"
        )
    if int(os.environ.get("RANK", 0)) == 0:
        content = json.dumps(run, indent=1).encode()
        write_atomically(Path(output_dir) / SETTINGS, lambda file: file.write(content))
        load_or_make_splits(dataset, folds=folds, seed=split_seed, path=Path(output_dir) / SPLITS)


def _check_unseen(training: Path, cases: Sequence[str]) -> None:
    """Refuse cases that the training in a folder trained on, as far as it left its splits there."""
    run, splits = _read_json(training / SETTINGS), _read_json(training / SPLITS)
    if not run or not splits:
        return
    seen = sorted(set(cases) & set(splits[run["fold"]]["train"]))
    if seen:
        raise ConfigError(
            f"{training}: {len(seen)} of these {len(cases)} validation cases were trained on, such "
            f"as {seen[0]}; "
            f"evaluate with --fold {run['fold']} --folds {run['folds']} --split_seed "
            f"{run['split_seed']}, "
            "or say what you measure by --part train or --part all"
        )


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else {}


def check_folder(input_dir: str | Path, output_dir: str | Path) -> None:
    """Before inferring: the input is there, and the masks will not lie among the images.

    Raises:
        ConfigError: no such file or folder, or output_dir is the folder of the images.
    """
    path = Path(input_dir)
    if not path.exists():
        raise ConfigError(
            f"{input_dir}: there is no such file or folder; give --input_dir FOLDER with CTs"
        )
    _refuse_same_folder(path, output_dir)


def _output_folders(path: Path) -> list[Path]:
    """Folders inside a folder in which an earlier run left its masks."""
    if not path.is_dir():
        return []
    inside = (
        Path(folder)
        for folder, _, files in os.walk(path)
        if "cases.csv" in files and Path(folder) != path
    )
    return sorted(folder for folder in inside if is_output_folder(folder))


def _refuse_same_folder(path: Path, output_dir: str | Path) -> None:
    folder = path.parent if path.is_file() and path.suffix.lower() not in LIST_SUFFIXES else path
    if folder.resolve() == Path(output_dir).resolve():
        raise ConfigError(
            f"{output_dir}: masks would overwrite the images there; give another --output_dir"
        )
