"""A dataset as nnU-Net v2's raw dataset, with our folds: the same cases for both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...images.names import case_id
from ...images.parts import files_of
from ...images.reading import read_image, read_labels
from ...images.writing import write_image, write_labels
from ...output_folder import OutputFolder
from ...progress import progressed
from ..dataset import Dataset, DatasetCase, load_dataset
from ..entries import IGNORE_NAME
from ..folds import load_or_make_splits
from ..importing.conversion import mapped, take
from ..importing.record import write_json

_NAME = re.compile(r"Dataset(\d{3})_[A-Za-z0-9_]+")
_NIFTI = ".nii.gz"
_FIRST_FREE = 501  # of the numbers that nnU-Net leaves to its users


def export_nnunet(
    dataset_dir: str | Path,
    out: str | Path,
    *,
    folds: int = 5,
    split_seed: int = 0,
    splits: str | Path | None = None,
    copy: bool = False,
    progress: bool = True,
) -> Path:
    """Write a dataset as nnU-Net v2's raw dataset: links where files can be used as they are.

    Channels become files of their own (case_0000, case_0001). Where files differ in their suffix,
    or label values have gaps, which nnU-Net refuses, the files concerned are converted to .nii.gz.
    splits_final.json holds the folds that our training takes; nnU-Net looks for it in
    nnUNet_preprocessed/<dataset>.

    Args:
        dataset_dir: the dataset folder.
        out: the raw dataset's folder, called such as Dataset501_Liver; of another folder a
            sub-folder Dataset501_<name> is made.
        folds, split_seed, splits: see `load_or_make_splits`.
        copy: copies in the place of links.
        progress: show how far it is.

    Returns:
        The raw dataset's folder.

    Raises:
        DatasetError: the dataset is not sound.
        ConfigError: no labelled case.
        OutputError: a file that Gridgate did not write is in the way.
    """
    dataset = load_dataset(dataset_dir)
    if not dataset.cases:
        raise ConfigError(f"{dataset.root}: has no labelled case, so nnU-Net cannot be trained")
    folder = Path(out)
    if not _NAME.fullmatch(folder.name):
        name = re.sub(r"[^A-Za-z0-9]+", "", dataset.name.title()) or "Gridgate"
        folder = folder / f"Dataset{_FIRST_FREE}_{name}"
    values = _consecutive(dataset)
    ending = _common_ending(dataset, changed=values is not None)
    every = [*dataset.cases, *dataset.test_cases]
    with OutputFolder(folder) as output:
        for case in progressed(every, len(every), "exporting", delay=1, shown=progress):
            _export_case(case, output, dataset, ending, values, copy=copy)
        write_json(output, "dataset.json", _content(dataset, ending, values))
        made = load_or_make_splits(dataset, folds=folds, seed=split_seed, splits=splits)
        final = [{"train": fold["train"], "val": fold["validation"]} for fold in made]
        write_json(output, "splits_final.json", final)
    return folder


def _export_case(
    case: DatasetCase,
    output: OutputFolder,
    dataset: Dataset,
    ending: str,
    values: dict[int, int] | None,
    *,
    copy: bool,
) -> None:
    images = "imagesTr" if case.label is not None else "imagesTs"
    channels = len(dataset.channel_names)
    names = [f"{images}/{case.id}_{channel:04d}{ending}" for channel in range(channels)]
    if len(case.images) == channels:
        for name, file in zip(names, case.images, strict=True):
            if _suffix(file) == ending and files_of(file) == [file]:
                _take(output, name, file, copy=copy)
            elif not output.owns(name):
                image = read_image(file, keep_integers=True)
                _write_image(output, name, image.array, image)
    elif not all(map(output.owns, names)):
        image = read_image(case.images[0], channels=channels, keep_integers=True)
        for name, array in zip(names, image.array, strict=True):
            _write_image(output, name, array, image)
    if case.label is None:
        return
    name = f"labelsTr/{case.id}{ending}"
    if _suffix(case.label) == ending and values is None and files_of(case.label) == [case.label]:
        _take(output, name, case.label, copy=copy)
    elif not output.owns(name):
        label = read_labels(case.label)
        array = label.array if values is None else mapped(label.array, values, case.label)
        write_labels(output.path(name), array, like=label, save=output.saver(name))


def _take(output: OutputFolder, name: str, file: Path, *, copy: bool) -> None:
    path, file = output.path(name), file.resolve()
    same = path.exists() and (path.resolve() == file or (not path.is_symlink() and copy))
    if not (same and output.owns(name)):
        take(output, name, file, copy=copy)


def _write_image(output: OutputFolder, name: str, array: Any, like: Any) -> None:
    write_image(output.path(name), array, like=like, keep_integers=True, save=output.saver(name))


def _suffix(path: Path) -> str:
    return path.name[len(case_id(path.name)) :]


def _common_ending(dataset: Dataset, *, changed: bool) -> str:
    """The one suffix that all files have and nnU-Net reads; .nii.gz where they differ."""
    files = [file for case in (*dataset.cases, *dataset.test_cases) for file in case.images]
    files += [case.label for case in dataset.cases if case.label is not None]
    found = {_suffix(file) for file in files}
    known = (_NIFTI, ".nrrd", ".mha")
    split = any(len(case.images) != len(dataset.channel_names) for case in dataset.cases)
    return (
        found.pop() if len(found) == 1 and found <= {*known} and not (changed or split) else _NIFTI
    )


def _consecutive(dataset: Dataset) -> dict[int, int] | None:
    """Value -> the one that nnU-Net takes, 0, 1, 2, ... with "ignore" last; None where they are."""
    values = sorted(dataset.labels.values())
    values += [dataset.ignore] if dataset.ignore is not None else []
    target = {value: index for index, value in enumerate(values)}
    return None if all(old == new for old, new in target.items()) else target


def _content(dataset: Dataset, ending: str, values: dict[int, int] | None) -> dict[str, Any]:
    labels = dict(dataset.labels)
    if dataset.ignore is not None:
        labels[IGNORE_NAME] = dataset.ignore
    if values is not None:
        labels = {name: values[value] for name, value in labels.items()}
    return {
        "name": dataset.name,
        "channel_names": dict(enumerate_text(dataset.channel_names)),
        "labels": labels,
        "numTraining": len(dataset.cases),
        "file_ending": ending,
    }


def enumerate_text(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The names with their numbers as text.

    >>> enumerate_text(("CT",))
    [('0', 'CT')]
    """
    return [(str(index), name) for index, name in enumerate(names)]
