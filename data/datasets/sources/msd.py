"""The Medical Segmentation Decathlon: a task by name, or a tar of one that the user has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import DatasetError
from ...files import settled
from ...images.names import case_id
from ...output_folder import OutputFolder
from ..entries import channel_names, dataset_labels
from ..importing.archive import Archive, look_into, opened_member
from ..importing.download import download, md5_of
from ..importing.record import Record
from ..importing.refusals import refuse_another
from ..importing.source import LabelFile, Member, Source, SourceCase, id_of
from ..listed import list_of_entries
from .msd_tasks import BASE_ADDRESS, LICENCE, TASKS, Task, task_named

PREFIX = "msd:"
DOWNLOADS = ".download"
"""The sub-folder of the dataset that an archive comes into, and that is removed at the end."""
_LARGEST_JSON = 1 << 24


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
        DatasetError: the folder holds another dataset; see `download` and `tar_source`.
    """
    task = task_named(name)
    address = _address(task, base_address)
    expected = md5 or task.md5
    refuse_another(address, Record(output))
    relative = f"{DOWNLOADS}/{task.name}.tar"
    path = download(address, output, relative, md5=expected, room=2, progress=progress)
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
    path = settled(path)
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
    labels, ignore, _ = dataset_labels(content, where)
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
    for entry in list_of_entries(content, "training", where):
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise DatasetError(f"{where}: {entry!r} in 'training' has no image or no label")
        label = _member(archive, entry["label"])
        image = _member(archive, entry["image"])
        cases.append(SourceCase(id_of(case_id(label.name)), (image,), LabelFile(label)))
    return cases


def _unlabelled(archive: Archive, content: dict[str, Any], where: Path) -> list[SourceCase]:
    cases = []
    for entry in list_of_entries(content, "test", where):
        image = _member(archive, entry["image"] if isinstance(entry, dict) else entry)
        cases.append(SourceCase(id_of(case_id(image.name)), (image,)))
    return cases


def _member(archive: Archive, name: Any) -> Member:
    member = archive.members.get(str(name).replace("\\", "/").removeprefix("./"))
    if member is None:
        raise DatasetError(
            f"{archive.path}: its dataset.json lists {name}, which is not in the archive; the pair "
            "is incomplete: get the archive again"
        )
    return member
