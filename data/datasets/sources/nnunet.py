"""nnU-Net's raw datasets, v1 and v2, and folders in the Decathlon's layout: what has dataset.json.

The files are found as `gridgate.data.datasets.dataset` finds them; regions and the ignore label go
into the imported dataset as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DatasetError
from ...files import settled
from ...images.names import IMAGE_SUFFIXES, find_images
from ..annotated import ANNOTATED, annotated_labels
from ..dataset import Dataset, DatasetCase, case_files
from ..entries import (
    IGNORE_NAME,
    DatasetLabels,
    channel_names,
    dataset_labels,
    read_dataset_json,
)
from ..folds import Split, load_or_make_splits, splits_file
from ..importing.source import LabelEntries, LabelFile, Source, SourceCase, id_of
from ..patients import PATIENTS, patients_of

_OWN = frozenset(
    {
        *("name", "labels", "modality", "channel_names", "numTraining", "numTest", "training"),
        *("test", "dataset", "file_ending", "licence", "license"),
        *("overwrite_image_reader_writer", ANNOTATED, PATIENTS),
    }
)


def is_nnunet(folder: Path) -> bool:
    """Whether a folder has dataset.json, and imagesTr or a list of files that lie elsewhere."""
    where = folder / "dataset.json"
    if not where.is_file():
        return False
    return (folder / "imagesTr").is_dir() or "dataset" in read_dataset_json(where)


def nnunet_source(folder: str | Path, *, licence: str = "") -> Source:
    """The source that a folder with dataset.json, imagesTr and labelsTr is.

    Args:
        folder: of nnUNet_raw, nnUNet_raw_data or the Decathlon.
        licence: where dataset.json does not say it.

    Raises:
        DatasetError: dataset.json is broken; an image without a label map or the reverse, a
            channel that is missing; files of a format that is not volumes (.png, .tif).
    """
    root = Path(folder)
    where = root / "dataset.json"
    content = read_dataset_json(where)
    ending = content.get("file_ending")
    if isinstance(ending, str) and not ending.lower().endswith(IMAGE_SUFFIXES):
        raise DatasetError(
            f"{where}: its files end in {ending}, and volumes that know their place are needed; "
            f"convert them to one of {', '.join(IMAGE_SUFFIXES[:8])}"
        )
    declared = dataset_labels(content, where)
    labels = _labels(content, declared)
    channels = channel_names(content, where)
    found, unlabelled = case_files(content, root, where)
    patients = patients_of(content, [files[0] for files in (*found, *unlabelled)], where)
    cases = tuple(_case(*files, patients) for files in found)
    tests = tuple(_case(*files, patients) for files in unlabelled)
    most = max((len(case.images) for case in cases), default=1)
    for case in (*cases, *tests):
        if len(case.images) not in (1, len(channels)) or len(case.images) < most:
            raise DatasetError(
                f"{where}: case {case.id} has {len(case.images)} image files, the dataset "
                f"{len(channels)} channels ({', '.join(channels)})"
            )
    entry = content.get(ANNOTATED, {})
    names = [name for name, value in declared.values.items() if value]
    annotated_labels(content, names, [files[0] for files in (*found, *unlabelled)], where)
    said = str(content.get("licence") or content.get("license") or licence or "not stated")
    return Source(
        "nnunet",
        str(settled(root)),
        str(content.get("name") or root.resolve().name),
        cases,
        labels,
        tests,
        channels,
        said,
        splits=_splits(root, found, declared, channels),
        more={key: value for key, value in content.items() if key not in _OWN},
        annotated={
            key if "*" in key else id_of(key): [value] if isinstance(value, str) else value
            for key, value in entry.items()
        },
        notes=_unlisted(root, (*cases, *tests)),
    )


def _labels(content: dict[str, Any], declared: DatasetLabels) -> LabelEntries:
    """All entries of a dataset.json's labels: regions as they are, the ignore label with them."""
    if declared.regions is not None:
        return dict(content["labels"])
    labels: LabelEntries = dict(declared.values)
    if declared.ignore is not None:
        labels[IGNORE_NAME] = declared.ignore
    return labels


def _case(
    name: str, images: tuple[Path, ...], label: Path | None, patients: Mapping[str, str]
) -> SourceCase:
    made = LabelFile(label) if label is not None else None
    return SourceCase(id_of(name), images, made, patient=patients.get(name, ""))


def _unlisted(root: Path, cases: Sequence[SourceCase]) -> tuple[str, ...]:
    """A note of images in imagesTr that dataset.json does not list."""
    folder = root / "imagesTr"
    used = {str(image) for case in cases for image in case.images}
    found = find_images(folder) if folder.is_dir() else []
    left = [path for path in found if str(path) not in used]
    if not left:
        return ()
    return (
        f"{len(left)} images in {folder} are left out, since dataset.json does not list them, such "
        f"as {left[0].name}",
    )


def _splits(
    root: Path, found: Any, declared: DatasetLabels, channels: tuple[str, ...]
) -> dict[str, list[Split]]:
    """The folds that lie beside: ours or nnU-Net's splits_final.json."""
    cases = tuple(DatasetCase(*files) for files in found)
    dataset = Dataset(root, root.name, declared.values, channels, cases, ())
    if splits_file(dataset) is None:
        return {}
    folds = load_or_make_splits(dataset)
    return {
        "splits.json": [
            {half: sorted(map(id_of, cases)) for half, cases in fold.items()} for fold in folds
        ]
    }
