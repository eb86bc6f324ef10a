"""TotalSegmentator's data set: a folder per subject with ct.nii.gz and a mask per class.

Wasserthal et al., Radiology: Artificial Intelligence 5(5), 2023; https://zenodo.org/records/10047292
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ...errors import ConfigError, DatasetError
from ...files import settled
from ...images.names import case_id, find_images
from ..folds import Split
from ..importing.source import Masks, Source, SourceCase, id_of

LICENCE = "CC BY 4.0"
IMAGES = {"ct.nii.gz": "CT", "mri.nii.gz": "MRI"}
MASKS = "segmentations"
_LISTED = 20  # classes that an error names


def is_totalsegmentator(folder: Path) -> bool:
    """Whether a folder holds a subject of this layout."""
    return any(True for _ in _subjects(folder))


def totalsegmentator_source(folder: Path, classes: Sequence[str] | None = None) -> Source:
    """The source that a folder of subjects is, with all or some of the classes.

    Args:
        folder: holds s0000, s0001, ..., and perhaps meta.csv with the official split, which is
            kept as splits/official.json.
        classes: in the order of their values, from 1; by default all that any subject has, by name.

    Raises:
        ConfigError: a class that is not there, or twice.
        DatasetError: no subject; a subject that lacks a mask of one of the classes.
    """
    subjects = sorted(_subjects(folder))
    if not subjects:
        raise DatasetError(f"{folder}: holds no subject folders with ct.nii.gz and {MASKS}")
    known = sorted(
        {case_id(path.name) for subject in subjects for path in find_images(subject / MASKS)}
    )
    wanted = _wanted(classes, known, folder)
    image = next(name for name in IMAGES if (subjects[0] / name).is_file())
    cases = []
    for subject in subjects:
        if not (subject / image).is_file():
            raise DatasetError(f"{subject}: has no {image}, as {subjects[0].name} has")
        files = {value: subject / MASKS / f"{name}.nii.gz" for name, value in wanted.items()}
        missing = [path.name for path in files.values() if not path.is_file()]
        if missing:
            raise DatasetError(
                f"{subject}: lacks the masks {', '.join(missing[:5])} ({len(missing)} in all); get "
                "it again, or leave these classes out by --classes; or, where they were not drawn "
                f"there: --images '*/{image}' --masks '{{CLASS: \"*/{MASKS}/CLASS.nii.gz\", ...}}'"
            )
        cases.append(SourceCase(id_of(subject.name), (subject / image,), Masks(files)))
    official, note = _official(folder, {case.id for case in cases})
    return Source(
        "totalsegmentator",
        str(settled(folder)),
        "TotalSegmentator",
        tuple(cases),
        {"background": 0, **wanted},
        channels=(IMAGES[image],),
        licence=LICENCE,
        splits=official,
        more={"reference": "https://zenodo.org/records/10047292"},
        notes=note,
    )


def _subjects(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if (path / MASKS).is_dir() and any((path / name).is_file() for name in IMAGES)
    ]


def _wanted(classes: Sequence[str] | None, known: list[str], folder: Path) -> dict[str, int]:
    names = known if classes is None else [str(name) for name in classes]
    unknown = [name for name in names if name not in known]
    if unknown or len(set(names)) != len(names) or not names:
        told = f"no class {unknown[0]!r}" if unknown else "no class, or one twice,"
        raise ConfigError(
            f"{folder}: {told} in --classes; there are {', '.join(known[:_LISTED])}"
            + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
        )
    return {name: value for value, name in enumerate(names, start=1)}


def _official(folder: Path, there: set[str]) -> tuple[dict[str, list[Split]], tuple[str, ...]]:
    """The split of meta.csv, with its validation cases, and what becomes of its test cases."""
    table = folder / "meta.csv"
    if not table.is_file():
        return {}, ()
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{table}: cannot be read ({error})") from None
    separator = ";" if lines and ";" in lines[0] else ","
    halves: dict[str, list[str]] = {}
    for row in csv.DictReader(lines, delimiter=separator):
        name = str(row.get("image_id", ""))
        if name in there:
            halves.setdefault(str(row.get("split", "")), []).append(name)
    train, validation = halves.get("train", []), halves.get("val", [])
    if not train or not validation:
        return {}, ()
    tests = halves.get("test", [])
    note = (
        f"{len(tests)} cases are the official test set: they are labelled cases of this dataset, "
        "and splits/official.json leaves them out"
    )
    return {"splits/official.json": [{"train": train, "validation": validation}]}, (
        note,
    ) if tests else ()
