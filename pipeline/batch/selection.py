"""From folders to the lists of cases that the three workflows run over."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ...data.datasets.dataset import Case, load_dataset
from ...data.datasets.folds import load_or_make_splits, select_fold
from ...data.errors import ConfigError, DatasetError
from ...data.inputs.find import Inputs, find_cases
from ...data.inputs.lists import LIST_SUFFIXES
from ...data.inputs.walk import PassedOver
from ..models.checkpoints import training_folder
from ..training.run_folder import check_unseen
from .results import is_output_folder

Part = Literal["train", "validation", "all", "test"]


def dataset_cases(
    dataset_dir: str | Path,
    *,
    part: Part = "validation",
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> list[dict[str, Any]]:
    """Items {"id", "image", "label"} of one part of a dataset, as MONAI's datasets take them.

    A folder that is not there gives no items, so that a bundle's config can be looked at without
    data; `check_dataset` refuses it when the run starts.

    Args:
        part: "train" or "validation" of the fold, "all" labelled cases, or the unlabelled "test"
            cases.
        fold: 0-based, of `folds`.
        rank, world_size: every world_size-th case from the rank-th on, for a process of a multi-GPU
            run.

    Raises:
        DatasetError: the dataset is not sound, or the fold is out of range.
    """
    if not Path(dataset_dir).is_dir():
        return []
    dataset = load_dataset(dataset_dir)
    if part in ("train", "validation"):
        splits = load_or_make_splits(dataset, folds=folds, seed=split_seed)
        train, validation = select_fold(dataset, splits, fold)
        cases = tuple(train if part == "train" else validation)
    elif part in ("all", "test"):
        cases = dataset.cases if part == "all" else dataset.test_cases
    else:
        raise ConfigError(f"part {part!r} is not known: use train, validation, all or test")
    # too few for all processes: each takes them all, which leaves the mean over processes as it is
    share = cases[rank::world_size] if len(cases) >= world_size else cases
    return [_item(case) for case in share]


def folder_inputs(
    input_dir: str | Path,
    *,
    output_dir: str | Path,
    recursive: bool = True,
    flat: bool = False,
    modality: str | None = "CT",
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
    found = find_cases(path, recursive=recursive, flat=flat, modality=modality, exclude=exclude)
    told = [PassedOver(str(folder), "masks of an earlier run, no scans") for folder in earlier]
    return Inputs(found.cases, [*found.passed_over, *told])


def label_map(
    dataset_dir: str | Path, *, labels: Sequence[str], merge_labels: Mapping[str, str] | None = None
) -> dict[int, int]:
    """Dataset's label value -> the bundle's channel, by the labels' names; empty for a folder that is not there.

    Args:
        labels: names of the bundle's channels in order, the background first. Case, spaces and
            dashes do not count.
        merge_labels: dataset's label -> the bundle's label that it is counted as, such as
            {"cancer": "pancreas"}.

    Raises:
        DatasetError: the dataset has a label that the bundle has not, or lacks one of the bundle's.
    """
    if not Path(dataset_dir).is_dir():
        return {}
    dataset = load_dataset(dataset_dir)
    merged = {_spelt(source): _spelt(target) for source, target in (merge_labels or {}).items()}
    channel = {_spelt(name): index for index, name in enumerate(labels)}
    found = {
        value: merged.get(_spelt(name), _spelt(name)) for name, value in dataset.labels.items()
    }
    if set(found.values()) != set(channel):
        raise DatasetError(
            f"{dataset.root}/dataset.json: its labels are {', '.join(dataset.labels)}; this "
            "bundle's are "
            f"{', '.join(labels)}. Use a bundle for this dataset, or count labels as others by "
            "--merge_labels"
        )
    return {value: channel[name] for value, name in found.items()}


def check_dataset(
    dataset_dir: str | Path,
    *,
    channels: int = 1,
    part: Part = "train",
    fold: int = 0,
    folds: int = 5,
    split_seed: int = 0,
    checkpoint: str | Path | Sequence[str | Path] | None = None,
) -> None:
    """Before a training or evaluation: the dataset is there and fits the bundle.

    Args:
        checkpoint: of an evaluation; its validation cases must not be those that it was trained on.

    Raises:
        DatasetError: no such folder, no such fold, or images of other channels than the bundle's.
        ConfigError: validation cases that the checkpoint was trained on.
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
    cases = dataset_cases(dataset_dir, part=part, fold=fold, folds=folds, split_seed=split_seed)
    if not cases:
        raise DatasetError(f"{dataset.root}: no {part} case in it")
    if checkpoint is not None and part == "validation":
        for path in [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint:
            check_unseen(training_folder(path), [item["id"] for item in cases])


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


def _item(case: Case) -> dict[str, Any]:
    images = [str(path) for path in case.images]
    item: dict[str, Any] = {"id": case.id, "image": images[0] if len(images) == 1 else images}
    if case.label is not None:
        item["label"] = str(case.label)
    return item


def _spelt(name: str) -> str:
    return name.lower().replace(" ", "_").replace("-", "_")
