"""What `gridgate view` was asked to show, as cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ....data.datasets.dataset import Dataset, load_dataset
from ....data.dicom.series import find_series
from ....data.errors import ConfigError
from ....data.images.names import case_id, find_images
from ....data.label_tables.files import JSON
from ....data.label_tables.reading import read_table
from ....data.output_folder import OutputFolder
from ...batch.results.case_result import DONE
from ...batch.results.page_file import PAGE
from ...batch.results.table_file import read_case_table
from ..scripts import VIEWING
from .shown import ShownCase, ShownMask

_TABLE = "cases.csv"
_OF_A_FIT = "cross_validation"
_ML = "_ml"
_NAMED = 5  # cases that a text lists


def cases_to_show(
    what: Path, masks: Sequence[Path], *, dataset: Path | None = None
) -> list[ShownCase]:
    """The cases of a scan, a folder of a run, a dataset, DICOM, or a folder of scans.

    Args:
        what: which of them it is, is found out.
        masks: over the one scan.
        dataset: whose labels are shown as the truth, over the masks of a run.

    Raises:
        ConfigError: there is nothing to show, or masks for several scans.
        DatasetError: the dataset is none.
        ImageError: the folder cannot be listed.
    """
    if not what.exists():
        raise ConfigError(f"{what}: there is no such file or folder; check the path")
    for mask in masks:
        if not mask.is_file():
            raise ConfigError(f"{mask}: there is no such file; masks are label maps over the scan")
    found = _of(what, dataset)
    if masks and len(found) != 1:
        raise ConfigError(f"{what} holds {len(found)} cases; masks can be given for one scan only")
    if masks:
        given = [
            ShownMask(name, mask) for name, mask in zip(_mask_names(masks), masks, strict=True)
        ]
        found = [ShownCase(case.name, case.scan, [*case.masks, *given]) for case in found]
    return found


def page_of(what: Path) -> Path | None:
    """The page of a run that may be served with its cases: one that this Gridgate wrote.

    A page may hold scripts, and what is served beside the scans could read them. A folder's record
    of what Gridgate wrote may come from whoever made the folder, so the browser is told, too, to
    run this version's scripts alone (viewer.server).
    """
    of_run = (what / _TABLE).is_file() or (what / _OF_A_FIT / _TABLE).is_file()
    page = what / PAGE
    if not (of_run and page.is_file() and OutputFolder(what).owns(page.name)):
        return None
    return page if VIEWING.encode("utf-8") in page.read_bytes() else None


def chosen(cases: Sequence[ShownCase], name: str | None) -> list[ShownCase]:
    """All of them, the one of that name first.

    Raises:
        ConfigError: none has the name.
    """
    first = [case for case in cases if name is None or case.name == name]
    if not first:
        known = ", ".join(case.name for case in cases[:_NAMED])
        more = f" and {len(cases) - _NAMED} more" if len(cases) > _NAMED else ""
        raise ConfigError(f"no case is called {name!r}; there are {known}{more}")
    return [first[0], *(case for case in cases if case is not first[0])]


def _of(what: Path, dataset: Path | None) -> list[ShownCase]:
    for run in (what, what / _OF_A_FIT):
        if (run / _TABLE).is_file():
            return _of_run(run, None if dataset is None else load_dataset(dataset))
    if dataset is not None:
        raise ConfigError(f"--dataset is for the folder of a run, which has {_TABLE}")
    if what.is_dir() and (what / "dataset.json").is_file():
        return _of_dataset(load_dataset(what))
    if what.is_dir():
        images = find_images(what)
        return [
            ShownCase(name, str(path)) for name, path in zip(_apart(images), images, strict=True)
        ] or _of_dicom(what)
    if what.suffix.lower() in (".dcm", ".zip") or not what.suffix:
        return _of_dicom(what)
    return [ShownCase(case_id(what), str(what))]


def _of_run(folder: Path, dataset: Dataset | None) -> list[ShownCase]:
    truths = {} if dataset is None else {case.id: case for case in dataset.cases}
    names = read_table(folder / JSON)
    found = []
    for row in read_case_table(folder / _TABLE):
        if row["status"] != DONE:
            continue
        masks = [ShownMask("prediction", folder / row["output"], names or None, _ml(row))]
        truth = truths.get(row["case"])
        if dataset is not None and truth is not None and truth.label is not None:
            masks.append(ShownMask("truth", truth.label, _names(dataset)))
        found.append(ShownCase(row["case"], row["input"], masks))
    if not found:
        raise ConfigError(f"{folder / _TABLE}: no case has a mask")
    return found


def _of_dataset(dataset: Dataset) -> list[ShownCase]:
    names = _names(dataset)
    return [
        ShownCase(
            case.id,
            ";".join(map(str, case.images)),
            [] if case.label is None else [ShownMask("labels", case.label, names)],
        )
        for case in (*dataset.cases, *dataset.test_cases)
    ]


def _of_dicom(path: Path) -> list[ShownCase]:
    series, _ = find_series(path, modality=None)
    if not series:
        raise ConfigError(f"{path}: holds no scan that can be shown")
    return [ShownCase(str(one), str(one)) for one in series]


def _names(dataset: Dataset) -> Mapping[int, str]:
    names = {value: name for name, value in dataset.labels.items()}
    return names if dataset.ignore is None else {**names, dataset.ignore: "ignored"}


def _ml(row: Mapping[str, str]) -> dict[str, float]:
    """Label -> ml as the run measured it: of regions, which overlap, the mask tells less."""
    found = {}
    for column, text in row.items():
        if column.endswith(_ML) and text:
            with suppress(ValueError):
                found[column.removesuffix(_ML)] = float(text)
    return found


def _apart(files: Sequence[Path]) -> list[str]:
    """Names without ending, with it where two are alike."""
    names = [case_id(file) for file in files]
    return [
        file.name if names.count(name) > 1 else name
        for name, file in zip(names, files, strict=True)
    ]


def _mask_names(masks: Sequence[Path]) -> list[str]:
    """Of each mask the shortest end of its path that no other has; a number where there is none."""
    parts = [mask.resolve().parts for mask in masks]
    names = []
    for number, own in enumerate(parts):
        ends = [own[-count:] for count in range(1, len(own) + 1)]
        others = [other for place, other in enumerate(parts) if place != number]
        free = [end for end in ends if all(other[-len(end) :] != end for other in others)]
        names.append("/".join(free[0]) if free else f"{own[-1]} ({number + 1})")
    return names
