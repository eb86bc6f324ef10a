"""What `gridgate view` was asked to show, as cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ....data.datasets.dataset import Dataset, load_dataset
from ....data.dicom.series import find_series
from ....data.errors import ConfigError
from ....data.images.reading import find_images
from ...batch.results.case_result import DONE
from ...batch.results.table_file import read_case_table
from .shown import ShownCase, ShownMask

_TABLE = "cases.csv"
_OF_A_FIT = "cross_validation"
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
        given = [ShownMask(_mask_name(mask, masks), mask) for mask in masks]
        found = [ShownCase(case.name, case.scan, [*case.masks, *given]) for case in found]
    return found


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
        images = [ShownCase(_stem(path), str(path)) for path in find_images(what)]
        return images or _of_dicom(what)
    if what.suffix.lower() in (".dcm", ".zip") or not what.suffix:
        return _of_dicom(what)
    return [ShownCase(_stem(what), str(what))]


def _of_run(folder: Path, dataset: Dataset | None) -> list[ShownCase]:
    truths = {} if dataset is None else {case.id: case for case in dataset.cases}
    found = []
    for row in read_case_table(folder / _TABLE):
        if row["status"] != DONE:
            continue
        masks = [ShownMask("prediction", folder / row["output"])]
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
    return {value: name for name, value in dataset.labels.items()}


def _mask_name(mask: Path, masks: Sequence[Path]) -> str:
    """A mask's file name, with its folder where another has the same."""
    alike = [one for one in masks if one.name == mask.name]
    return mask.name if len(alike) == 1 else f"{mask.parent.name}/{mask.name}"


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name
