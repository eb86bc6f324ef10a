"""TCIA's Pancreas-CT (CT-82): DICOM folders and label NIfTIs as TCIA ships them.

Roth et al., https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU. The label files' headers say nothing of
where they lie; how their axes run against the DICOM series is proved case by case, see
`gridgate.data.datasets.importing.flips`.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...dicom.series import find_series
from ...errors import DatasetError
from ...files import settled
from ...images.names import case_id
from ...progress import progressed
from ...walk import walk_files
from ..importing.source import LabelFile, Source, SourceCase

LICENCE = "CC BY 3.0"
WITHDRAWN = {
    "0025": "withdrawn by TCIA: it is the scan of case 2, cropped otherwise",
    "0070": "withdrawn by TCIA: it is the scan of case 2, cropped otherwise",
}
"""Case -> why it is left out, where an old copy still has it."""

_PATIENT = re.compile(r"PANCREAS_(\d{4})", re.IGNORECASE)
_LABEL = re.compile(r"label(\d{4})", re.IGNORECASE)


def is_pancreas_ct(folder: Path) -> bool:
    """Whether a folder holds patients called PANCREAS_0001 and so on, at most three levels deep."""
    return any(True for depth in ("*", "*/*", "*/*/*") for one in folder.glob(depth) if _is(one))


def pancreas_ct_source(folder: Path, *, progress: bool = True) -> Source:
    """The source that a download of Pancreas-CT is.

    Args:
        folder: holds PANCREAS_0001, ... with DICOM, and label0001.nii.gz, ..., each at any depth.
        progress: show how far it is.

    Raises:
        DatasetError: a patient without a label or the reverse.
    """
    patients, labels = _found(folder)
    notes = []
    for number, why in WITHDRAWN.items():
        if number in patients or number in labels:
            notes.append(f"PANCREAS_{number} is left out: {why}")
            patients.pop(number, None)
            labels.pop(number, None)
    alone = sorted(set(patients) ^ set(labels))
    if alone:
        lacks = "its label NIfTI" if alone[0] in patients else "its DICOM folder"
        raise DatasetError(
            f"{folder}: the case PANCREAS_{alone[0]} lacks {lacks} ({len(alone)} such); get it "
            "from TCIA, or remove the other"
        )
    cases = []
    shown = progressed(
        sorted(patients), len(patients), "looking for DICOM", delay=1, leave=False, shown=progress
    )
    for number in shown:
        series, _ = find_series(patients[number])
        if len(series) != 1:
            why = (
                f"{patients[number]}: holds {len(series)} CT series, each case has one; remove the "
                "others"
            )
            cases.append(SourceCase(f"pancreas_{number}", (patients[number],), broken=why))
            continue
        label = LabelFile(labels[number], find_flips=True)
        cases.append(SourceCase(f"pancreas_{number}", (series[0],), label))
    return Source(
        "pancreas_ct",
        str(settled(folder)),
        "Pancreas-CT",
        tuple(cases),
        {"background": 0, "pancreas": 1},
        licence=LICENCE,
        more={"reference": "https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU"},
        notes=tuple(notes),
    )


def _found(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Number -> folder of DICOM, and number -> label file."""
    patients: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for path, error in walk_files(folder):
        if error is not None:
            raise DatasetError(f"{path}: cannot be listed ({error.strerror})")
        if match := _LABEL.fullmatch(case_id(path.name)):
            labels[match[1]] = path
            continue
        for parent in path.parents:
            if match := _PATIENT.fullmatch(parent.name):
                patients[match[1]] = parent
                break
    return patients, labels


def _is(path: Path) -> bool:
    return _PATIENT.fullmatch(path.name) is not None and path.is_dir()
