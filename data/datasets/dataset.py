"""A dataset folder in the Decathlon's layout: dataset.json, imagesTr/, labelsTr/, imagesTs/.

Four forms of dataset.json are read: the Decathlon's and nnU-Net v1's with a list of cases
("training"), nnU-Net v2's without one, where the folders are the list and each channel may be a
file of its own (case_0000.nii.gz), and nnU-Net v2's with a "dataset" entry, whose files may lie
elsewhere.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import DatasetError
from ..files import write_atomically
from .annotated import annotated_labels, unannotated_labels
from .entries import channel_names, dataset_labels, read_dataset_json
from .listed import CaseFiles, mapped_cases, training_list, unlabelled_list
from .pairing import pair_cases, scan_tests
from .patients import patients_of

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetCase:
    """One subject of a dataset.

    Args:
        id: unique within its dataset.
        images: one file, or one per channel in the order of the dataset's channel names.
        label: the label map's file; None where there is none.
        annotated: the labels that were annotated, as dataset.json's "annotated" declares them; None
            where all were. Where another label would be, the label map says background, and means
            nothing by it.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None
    annotated: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dataset:
    """What a dataset folder holds.

    Args:
        root: the folder.
        name: of the dataset.
        labels: name -> value in the label maps, ordered by value; "background" 0 is always
            there. Of regions the value that each is written as, in their order.
        channel_names: what the channels are, such as ("CT",).
        cases: the training cases, each with a label, sorted by id.
        test_cases: the others, sorted by id.
        ignore: value of the voxels that count as no label at all, not even as background (nnU-Net's
            label "ignore"); None where dataset.json names none. It is not among `labels`.
        regions: name -> the values in the label maps that it is made of, in the order in which
            later ones are written over earlier ones; None where labels do not overlap.
        patients: case -> patient, where dataset.json's "patients" says so; each other case is a
            patient of its own.
    """

    root: Path
    name: str
    labels: dict[str, int]
    channel_names: tuple[str, ...]
    cases: tuple[DatasetCase, ...]
    test_cases: tuple[DatasetCase, ...]
    ignore: int | None = None
    regions: dict[str, tuple[int, ...]] | None = None
    patients: Mapping[str, str] = field(default_factory=dict)

    def unannotated(self, case: DatasetCase) -> tuple[str, ...]:
        """The foreground labels that a case does not have annotated; none where all were."""
        foreground = [name for name, value in self.labels.items() if value]
        return unannotated_labels(case.annotated, foreground)


def load_dataset(dataset_dir: str | Path) -> Dataset:
    """Read a dataset folder's dataset.json and find its files; no image is opened.

    Args:
        dataset_dir: holds dataset.json, in any of the module's four forms.

    Raises:
        DatasetError: names the file: no or broken dataset.json, a missing or unusable entry,
            regions without their order, a listed file that is absent or outside the folder, an
            image without label or a label without image, an id twice, an "annotated" or "patients"
            that says what cannot be.
    """
    root = Path(dataset_dir)
    source = root / "dataset.json"
    content = read_dataset_json(source)
    labels, ignore, regions = dataset_labels(content, source)
    channels = channel_names(content, source)
    found, unlabelled = case_files(content, root, source)
    cases, tests = ([DatasetCase(*files) for files in part] for part in (found, unlabelled))
    if not cases and not tests:
        raise DatasetError(
            f"{source}: the dataset has no cases; put scans into imagesTr and label maps into "
            "labelsTr"
        )
    _check_unique([*cases, *tests], source)
    for case in (*cases, *tests):
        if len(case.images) not in (1, len(channels)):
            raise DatasetError(
                f"{source}: case {case.id} has {len(case.images)} image files, the dataset "
                f"{len(channels)} channels ({', '.join(channels)})"
            )
    foreground = [name for name, value in labels.items() if value]
    ids = [case.id for case in (*cases, *tests)]
    known = annotated_labels(content, foreground, ids, source)
    cases = [replace(case, annotated=known.get(case.id)) for case in cases]
    announced = content.get("numTraining", len(cases))
    if announced != len(cases):
        _LOG.warning(
            "%s: numTraining is %s, but there are %d training cases", source, announced, len(cases)
        )
    name = content.get("name") or root.resolve().name
    patients = patients_of(content, ids, source)
    every = (_by_id(cases), _by_id(tests))
    return Dataset(root, str(name), labels, channels, *every, ignore, regions, patients)


def write_dataset_json(
    root: str | Path,
    name: str,
    labels: Mapping[str, int],
    channel_names: Sequence[str],
    cases: Sequence[DatasetCase] | int,
    **more: str | int | float,
) -> Path:
    """Write the dataset.json of a folder that is filled already; the form without a list of cases.

    Args:
        root: the dataset folder.
        name: of the dataset.
        labels: name -> value, "background" 0 included.
        channel_names: in the order of the channels.
        cases: the training cases, or how many they are.
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
        "file_ending": ".nii.gz",
    }
    path = Path(root) / "dataset.json"
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda stream: stream.write(text.encode("utf-8")))
    return path


def case_files(
    content: dict[str, Any], root: Path, source: Path
) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """The files of the training cases and of the unlabelled ones, by dataset.json's form.

    Args:
        content: of dataset.json.
        root: the dataset folder.
        source: the path of dataset.json, for errors.

    Raises:
        DatasetError: see `load_dataset`.
    """
    if "training" in content:
        return training_list(content, root, source), unlabelled_list(content, root, source)
    ending = content.get("file_ending")
    if ending is not None and not isinstance(ending, str):
        raise DatasetError(f"{source}: file_ending is {ending!r}, not text such as '.nii.gz'")
    if "dataset" in content:
        cases: list[CaseFiles] = mapped_cases(content, root, source)
        by_channel = True
    else:
        pairs, by_channel = pair_cases(root / "imagesTr", root / "labelsTr", ending)
        cases = [(name, images, label) for name, images, label in pairs]
    tests = scan_tests(root / "imagesTs", ending, by_channel)
    return cases, [(name, images, None) for name, images in tests]


def _check_unique(cases: Iterable[DatasetCase], source: Path) -> None:
    seen: dict[str, DatasetCase] = {}
    for case in cases:
        if case.id in seen:
            raise DatasetError(
                f"{source}: the id {case.id} is there twice "
                f"({seen[case.id].images[0]} and {case.images[0]}); rename one"
            )
        seen[case.id] = case


def _by_id(cases: Iterable[DatasetCase]) -> tuple[DatasetCase, ...]:
    return tuple(sorted(cases, key=lambda case: case.id))
