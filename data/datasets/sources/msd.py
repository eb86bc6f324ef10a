"""The Medical Segmentation Decathlon: ten tasks by name, or a tar of one that the user has.

The facts are those of the archives' own dataset.json, as published with the challenge
(http://medicaldecathlon.com; Antonelli et al., Nature Communications 13, 4128, 2022); addresses and
MD5 checksums are those that MONAI's DecathlonDataset uses. What an archive's dataset.json says wins
over the facts here, which are for the table, for the room on the disk, and for the check.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, DatasetError
from ...images.names import case_id
from ...output_folder import OutputFolder
from ..entries import channel_names, labels_and_ignore
from ..importing.archive import Archive, look_into, opened_member
from ..importing.download import download, md5_of
from ..importing.record import Record
from ..importing.source import LabelFile, Member, Source, SourceCase, id_of

BASE_ADDRESS = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
LICENCE = "CC-BY-SA 4.0"
PREFIX = "msd:"
DOWNLOADS = ".download"
"""The sub-folder of the dataset that an archive comes into, and that is removed at the end."""
_LARGEST_JSON = 1 << 24


@dataclass(frozen=True)
class Task:
    """What is published of a task.

    Args:
        name: as the archive's.
        channels: its modality, one per channel.
        labels: name -> value.
        training, tests: how many cases.
        gigabytes: size of the archive, about.
        md5: of the archive.
    """

    name: str
    channels: tuple[str, ...]
    labels: dict[str, int]
    training: int
    tests: int
    gigabytes: float
    md5: str


def _task(
    name: str, channels: str, labels: str, cases: tuple[int, int], gigabytes: float, md5: str
) -> Task:
    named = {label: value for value, label in enumerate(labels.split(", "), start=1)}
    return Task(name, tuple(channels.split(", ")), named, *cases, gigabytes, md5)


TASKS: tuple[Task, ...] = (
    _task(
        "Task01_BrainTumour",
        "FLAIR, T1w, t1gd, T2w",
        "edema, non-enhancing tumor, enhancing tumour",
        (484, 266),
        7.1,
        "240a19d752f0d9e9101544901065d872",
    ),
    _task("Task02_Heart", "MRI", "left atrium", (20, 10), 0.4, "06ee59366e1e5124267b774dbd654057"),
    _task(
        "Task03_Liver", "CT", "liver, cancer", (131, 70), 27.0, "a90ec6c4aa7f6a3d087205e23d4e6397"
    ),
    _task(
        "Task04_Hippocampus",
        "MRI",
        "Anterior, Posterior",
        (260, 130),
        0.03,
        "9d24dba78a72977dbd1d2e110310f31b",
    ),
    _task(
        "Task05_Prostate", "T2, ADC", "PZ, TZ", (32, 16), 0.2, "35138f08b1efaef89d7424d2bcc928db"
    ),
    _task("Task06_Lung", "CT", "cancer", (63, 32), 8.5, "8afd997733c7fc0432f71255ba4e52dc"),
    _task(
        "Task07_Pancreas",
        "CT",
        "pancreas, cancer",
        (281, 139),
        11.5,
        "4f7080cfca169fa8066d17ce6eb061e4",
    ),
    _task(
        "Task08_HepaticVessel",
        "CT",
        "Vessel, Tumour",
        (303, 140),
        8.8,
        "641d79e80ec66453921d997fbf12a29c",
    ),
    _task("Task09_Spleen", "CT", "spleen", (41, 20), 1.5, "410d4a301da4e5b2f6f86ec3ddba524e"),
    _task(
        "Task10_Colon",
        "CT",
        "colon cancer primaries",
        (126, 64),
        5.9,
        "bad7a188931dc2f6acf72b08eb6202d0",
    ),
)


def task_named(name: str) -> Task:
    """The task of a name such as Task09_Spleen; Spleen, spleen and 9 will do.

    Raises:
        ConfigError: no such task; the text is the table of all.

    >>> task_named("spleen").name, task_named("Task09_Spleen").training
    ('Task09_Spleen', 41)
    """
    wanted = name.strip().lower()
    for task in TASKS:
        number, _, short = task.name.lower().partition("_")
        if wanted in (task.name.lower(), short, number, number[4:], number[4:].lstrip("0")):
            return task
    raise ConfigError(f"{name!r} is no task of the Decathlon; there are\n{facts_table()}")


def facts_table() -> str:
    """The ten tasks as lines of text: name, modality, labels, cases, size."""
    rows = [("task", "modality", "labels", "cases", "tests", "archive")]
    for task in TASKS:
        rows.append(
            (
                task.name,
                ", ".join(task.channels),
                ", ".join(task.labels),
                str(task.training),
                str(task.tests),
                f"about {task.gigabytes:g} GB",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, f"licence: {LICENCE}"])


def is_imported(name: str, output: OutputFolder, base_address: str = BASE_ADDRESS) -> bool:
    """Whether a task was imported here to its end, so that its archive is not needed again."""
    record = Record(output)
    return record.complete and record.origin == _address(task_named(name), base_address)


def download_task(
    name: str,
    output: OutputFolder,
    *,
    base_address: str = BASE_ADDRESS,
    md5: str | None = None,
    progress: bool = True,
) -> Source:
    """Get a task's archive, and give the source that it is.

    Args:
        name: see `task_named`.
        output: the dataset folder, held by the caller; the archive comes into its DOWNLOADS.
        base_address: of a mirror that has <task>.tar.
        md5: of the archive there, where it is another than the published one.
        progress: show how far it is.

    Raises:
        ConfigError: no such task.
        DatasetError: see `download` and `tar_source`.
    """
    task = task_named(name)
    address = _address(task, base_address)
    expected = md5 or task.md5
    relative = f"{DOWNLOADS}/{task.name}.tar"
    path = download(address, output, relative, md5=expected, progress=progress)
    return tar_source(path, origin=address, checksum=f"md5:{expected}")


def remove_download(name: str, output: OutputFolder) -> None:
    """Remove a task's archive once it is unpacked."""
    relative = f"{DOWNLOADS}/{task_named(name).name}.tar"
    output.remove(relative)
    folder = output.folder / DOWNLOADS
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def tar_source(path: str | Path, *, origin: str = "", checksum: str = "") -> Source:
    """The source that a tar in the Decathlon's layout is.

    Args:
        path: of the tar.
        origin: where it came from; by default its path.
        checksum: of it, where it was looked at already.

    Raises:
        DatasetError: see `look_into`; no or a broken dataset.json; a file that it lists is not
            there.
    """
    path = Path(path).absolute()
    notes: list[str] = []
    if not checksum:
        if not path.is_file():
            raise DatasetError(f"{path}: there is no such archive; check the path")
        found = md5_of(path)
        checksum = f"md5:{found}"
        known = next((one for one in TASKS if one.name == path.name.partition(".")[0]), None)
        if known is not None and known.md5 != found:
            notes.append(f"{path}: is not the published archive of {known.name} (MD5 {found})")
    archive = look_into(path, checksum)
    if archive.left_out:
        notes.append(f"{path}: {archive.left_out} files of macOS's (._name) were left out")
    content, where = _dataset_json(archive)
    labels, ignore = labels_and_ignore(content, where)
    entries: dict[str, int | list[int]] = dict(labels)
    if ignore is not None:
        entries["ignore"] = ignore
    cases = tuple(_labelled(archive, content, where))
    tests = tuple(_unlabelled(archive, content, where))
    more: dict[str, Any] = {
        key: content[key]
        for key in ("description", "reference", "release", "tensorImageSize")
        if key in content
    }
    return Source(
        "msd",
        origin or str(path),
        str(content.get("name") or path.name.partition(".")[0]),
        cases,
        entries,
        tests,
        channel_names(content, where),
        str(content.get("licence") or content.get("license") or LICENCE),
        checksum,
        more=more,
        notes=tuple(notes),
    )


def _address(task: Task, base_address: str) -> str:
    return f"{base_address.rstrip('/')}/{task.name}.tar"


def _dataset_json(archive: Archive) -> tuple[dict[str, Any], Path]:
    where = archive.path / "dataset.json"
    member = archive.members.get("dataset.json")
    if member is None:
        raise DatasetError(
            f"{archive.path}: holds no dataset.json; an archive of the Decathlon has one beside "
            "imagesTr and labelsTr"
        )
    with opened_member(member) as stream:
        data = stream.read(min(member.size, _LARGEST_JSON))
    try:
        content = json.loads(data.decode("utf-8-sig"))
        if not isinstance(content, dict):
            raise ValueError("not an object of entries")
    except ValueError as error:
        raise DatasetError(f"{where}: is not valid JSON ({error})") from None
    return content, where


def _labelled(archive: Archive, content: dict[str, Any], where: Path) -> list[SourceCase]:
    cases = []
    for entry in _entries(content, "training", where):
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise DatasetError(f"{where}: {entry!r} in 'training' has no image or no label")
        label = _member(archive, entry["label"])
        image = _member(archive, entry["image"])
        cases.append(SourceCase(id_of(case_id(label.name)), (image,), LabelFile(label)))
    return cases


def _unlabelled(archive: Archive, content: dict[str, Any], where: Path) -> list[SourceCase]:
    cases = []
    for entry in _entries(content, "test", where):
        image = _member(archive, entry["image"] if isinstance(entry, dict) else entry)
        cases.append(SourceCase(id_of(case_id(image.name)), (image,)))
    return cases


def _entries(content: dict[str, Any], key: str, where: Path) -> list[Any]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise DatasetError(f"{where}: {key!r} is no list of cases")
    return entries


def _member(archive: Archive, name: Any) -> Member:
    member = archive.members.get(str(name).replace("\\", "/").removeprefix("./"))
    if member is None:
        raise DatasetError(
            f"{archive.path}: its dataset.json lists {name}, which is not in the archive; the pair "
            "is incomplete: get the archive again"
        )
    return member
