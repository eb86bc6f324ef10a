"""A dataset as nnU-Net v2's raw dataset, with our folds: the same cases for both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...files import settled
from ...geometry.grids import Grid, same_grid
from ...geometry.label_grids import nearest_labels
from ...images.channels import check_channels
from ...images.image import Image
from ...images.names import case_id
from ...images.parts import files_of
from ...images.reading import read_grid, read_image, read_labels
from ...images.writing import write_image, write_labels
from ...output_folder import OutputFolder
from ...progress import progressed
from ..dataset import Dataset, DatasetCase, load_dataset
from ..entries import IGNORE_NAME
from ..folds import load_or_make_splits, trains_on_all
from ..importing.conversion import mapped, take
from ..importing.record import Record, state_of, write_json
from ..placement import check_placement

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
    nnU-Net pairs image and label map voxel by voxel, whatever their headers say: a label map in
    other axes, cropped or of other voxels is written on its image's grid, by nearest neighbour.
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
        ImageError: a file cannot be read; a label map, or a channel, lies elsewhere than its image.
        ConfigError: no labelled case, or one that does not have all labels annotated; one fold.
        OutputError: a file that Gridgate did not write is in the way.
    """
    dataset = load_dataset(dataset_dir)
    if not dataset.cases:
        raise ConfigError(f"{dataset.root}: has no labelled case, so nnU-Net cannot be trained")
    _refuse_all(folds)
    _refuse_partial(dataset)
    folder = _folder(Path(out), dataset)
    values = _consecutive(dataset)
    ending = _common_ending(dataset, changed=values is not None)
    every = [*dataset.cases, *dataset.test_cases]
    with OutputFolder(folder) as output:
        record = Record(output, "export.json")
        for case in progressed(every, len(every), "exporting", delay=1, shown=progress):
            for name, recipe, make in _pieces(case, output, dataset, ending, values, copy=copy):
                if not record.is_made(name, recipe):
                    make()
                    record.enter(name, recipe, {})
        write_json(output, "dataset.json", _content(dataset, ending, values))
        made = load_or_make_splits(dataset, folds=folds, seed=split_seed, splits=splits)
        final = [{"train": fold["train"], "val": fold["validation"]} for fold in made]
        write_json(output, "splits_final.json", final)
        for name in record.stale():
            output.remove(name)
        record.save({"origin": str(settled(dataset.root))}, record.files)
    return folder


def _folder(out: Path, dataset: Dataset) -> Path:
    if _NAME.fullmatch(out.name):
        return out
    name = re.sub(r"[^A-Za-z0-9]+", "", dataset.name.title()) or "Gridgate"
    return out / f"Dataset{_FIRST_FREE}_{name}"


def _refuse_all(folds: int) -> None:
    if trains_on_all(folds):
        raise ConfigError(
            "--folds 1: nnU-Net trains on all cases by its own word, `nnUNetv2_train ... all`, "
            "whatever the folds; leave --folds out"
        )


def _refuse_partial(dataset: Dataset) -> None:
    """nnU-Net takes what is not annotated for background.

    To write it as nnU-Net's ignore label would be wrong too: nobody knows which of the background's
    voxels it is, so all of them would have to be ignored, and no background were left to learn.
    """
    partial = [case for case in dataset.cases if case.annotated is not None]
    if partial:
        raise ConfigError(
            f"{dataset.root}: {len(partial)} cases do not have all labels annotated, such as "
            f"{partial[0].id}, and nnU-Net would take what is missing for background; export a "
            "dataset of the labels, or of the cases, that are annotated throughout"
        )


_Piece = tuple[str, dict[str, Any], Callable[[], object]]
"""A file's name, what it is made from, and what makes it."""


def _pieces(
    case: DatasetCase,
    output: OutputFolder,
    dataset: Dataset,
    ending: str,
    values: dict[int, int] | None,
    *,
    copy: bool,
) -> Iterator[_Piece]:
    images = "imagesTr" if case.label is not None else "imagesTs"
    channels = len(dataset.channel_names)
    grids = [(file, read_grid(file)) for file in case.images]
    check_channels(grids)
    for channel in range(channels):
        name = f"{images}/{case.id}_{channel:04d}{ending}"
        several = len(case.images) == channels
        file = case.images[channel] if several else case.images[0]
        recipe = {"from": state_of(file), "channel": 0 if several else channel, "copy": copy}
        if several and _suffix(file) == ending and files_of(file) == [file]:
            yield name, recipe, partial(take, output, name, file.resolve(), copy=copy)
        else:
            only = None if several else channel
            yield name, recipe, partial(_write_channel, output, name, file, only, channels)
    if case.label is None:
        return
    check_placement(case.id, case.images[0], case.label)
    grid = grids[0][1]
    onto = None if same_grid(grid, read_grid(case.label)) else grid
    name = f"labelsTr/{case.id}{ending}"
    recipe = {"from": state_of(case.label), "values": _as_text(values), "copy": copy}
    if onto is not None:
        recipe["onto"] = state_of(case.images[0])
    as_it_is = onto is None and values is None and files_of(case.label) == [case.label]
    if as_it_is and _suffix(case.label) == ending:
        yield name, recipe, partial(take, output, name, case.label.resolve(), copy=copy)
    else:
        yield name, recipe, partial(_write_labels, output, name, case.label, values, onto)


def _write_channel(
    output: OutputFolder, name: str, file: Path, channel: int | None, channels: int
) -> None:
    """An image as a file of its own: all of it, or one of its channels."""
    count = 1 if channel is None else channels
    image = read_image(file, channels=count, keep_integers=True)
    array = image.array if channel is None else image.array[channel]
    write_image(output.path(name), array, like=image, keep_integers=True, save=output.saver(name))


def _write_labels(
    output: OutputFolder, name: str, file: Path, values: dict[int, int] | None, onto: Grid | None
) -> None:
    """A label map with other values, or on another grid."""
    label = read_labels(file)
    if onto is not None:
        array = np.array(nearest_labels(label.array, label.grid, onto))
        label = Image(array, onto, file, None, label.notes)
    array = label.array if values is None else mapped(label.array, values, file)
    write_labels(output.path(name), array, like=label, save=output.saver(name))


def _as_text(values: dict[int, int] | None) -> dict[str, int] | None:
    return None if values is None else {str(old): new for old, new in values.items()}


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
    if dataset.regions is not None:
        values = sorted({0, *(value for held in dataset.regions.values() for value in held)})
    values += [dataset.ignore] if dataset.ignore is not None else []
    # what regions are written as alone, and is in no label map
    values += sorted(set(dataset.labels.values()) - set(values))
    target = {value: index for index, value in enumerate(values)}
    return None if all(old == new for old, new in target.items()) else target


def _content(dataset: Dataset, ending: str, values: dict[int, int] | None) -> dict[str, Any]:
    labels: dict[str, Any] = dict(dataset.labels)
    if dataset.ignore is not None:
        labels[IGNORE_NAME] = dataset.ignore
    if values is not None:
        labels = {name: values[value] for name, value in labels.items()}
    more = {}
    if dataset.regions is not None:
        more["regions_class_order"] = [labels[name] for name in dataset.regions]
        for name, held in dataset.regions.items():
            labels[name] = [value if values is None else values[value] for value in held]
    return {
        "name": dataset.name,
        "channel_names": {str(index): name for index, name in enumerate(dataset.channel_names)},
        "labels": labels,
        **more,
        "numTraining": len(dataset.cases),
        "file_ending": ending,
    }
