"""A mended copy of a dataset: sound files are linked, mended ones written, all are logged."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from ....errors import DatasetError, GridgateError, OutputError
from ....files import temporary_name, write_atomically
from ....images.names import case_id
from ....images.parts import DETACHED_SUFFIXES, files_of
from ....progress import progressed
from ...annotated import ANNOTATED, fits_any
from ...listed import CaseFiles
from ...patients import PATIENTS, of_cases_left
from ..findings import Finding, Report
from ..listing import Listing, list_cases
from .case import mended_case
from .steps import STEPS, mends

LOG = "mended.csv"
_SPLITS = ("splits.json", "splits_final.json")
_LEFT_OUT = ("case-twice", "case-in-train-and-test")
_REWRITTEN = ("training", "test", "dataset", "numTraining", "numTest", "file_ending")

Action = Literal["linked", "mended", "left out", "not mended"]


@dataclass(frozen=True)
class Row:
    """What became of a file.

    Args:
        case: its id.
        file: within the copy; "" where it was left out.
        source: the original.
        action: what was done with it.
        what: in words.
    """

    case: str
    file: str
    source: str
    action: Action
    what: str


def planned(report: Report) -> list[tuple[Finding, str]]:
    """Per finding what a mended copy would do about it, in words; "" where nothing can be done."""
    return [(finding, mends(finding.kind)) for finding in report.findings]


def write_mended(report: Report, out: str | Path) -> list[Row]:
    """Write a mended copy of a checked dataset; the original is only read.

    Files that need no mending are symbolic links to the originals (copies where the system has
    none). What cannot be mended stays as it is, and the log says so.

    Args:
        report: of the dataset's check.
        out: a new or empty folder outside of the dataset; it appears once all of it is written.

    Returns:
        A row per file, as in `mended.csv` of the copy.

    Raises:
        OutputError: the folder is not empty, lies in the dataset, or cannot be written.
    """
    out, source = Path(out), report.dataset
    _refuse(out, source)
    listing = list_cases(source)
    beside = out.absolute().with_name(temporary_name(out.name))
    try:
        beside.mkdir(parents=True)
        rows = _write(report, listing, beside)
        with suppress(FileNotFoundError):
            out.rmdir()
        os.replace(beside, out)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({error.strerror or error}); free space or choose another "
            "folder"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return rows


def _refuse(out: Path, source: Path) -> None:
    inside = out.resolve()
    if inside == source.resolve() or source.resolve() in inside.parents:
        raise OutputError(
            f"{out}: the mended copy may not lie in the dataset {source}; choose another folder"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: is there already and not empty; choose a new folder")


def _write(report: Report, listing: Listing, folder: Path) -> list[Row]:
    rows: list[Row] = []
    of_case: dict[str, list[Finding]] = {}
    for finding in report.findings:
        of_case.setdefault(finding.case, []).append(finding)
    left_out = set()
    cases = [*listing.cases, *listing.tests]
    for case in progressed(cases, len(cases), "mending", unit="cases"):
        found = of_case.get(case[0], [])
        leave = next((finding for finding in found if finding.kind in _LEFT_OUT), None)
        if leave is not None:
            left_out.add(case[0])
            rows += [Row(case[0], "", str(path), "left out", leave.text) for path in _paths(case)]
        else:
            rows += _case(case, found, listing, folder)
    _write_json(listing, folder, len(listing.cases), left_out, rows)
    _link_others(listing, folder, left_out)
    _write_log(folder / LOG, rows)
    return rows


def _case(case: CaseFiles, found: Sequence[Finding], listing: Listing, folder: Path) -> list[Row]:
    """The files of a case in the copy."""
    name = case[0]
    targets = _targets(case, folder)
    order = list(STEPS)
    steps = sorted(
        (finding for finding in found if finding.kind in STEPS),
        key=lambda finding: order.index(finding.kind),
    )
    stays = "; ".join(
        f"{finding.kind} stays"
        for finding in found
        if finding.level == "error" and not mends(finding.kind)
    )
    written: dict[Path, str] = {}
    trouble = ""
    if steps:
        try:
            written = mended_case(case, steps, listing, targets)
        except GridgateError as error:
            trouble = str(error)
    rows = []
    for path, target in zip(_paths(case), targets, strict=True):
        if path in written:
            rows.append(_row(name, _nifti(target), folder, path, "mended", written[path]))
            continue
        action: Action = "not mended" if trouble or stays else "linked"
        linked = _link(path, target)
        renamed = "" if linked.name == path.name else f"renamed from {path.name}"
        what = "; ".join(part for part in (trouble, stays, renamed) if part)
        rows.append(_row(name, linked, folder, path, action, what))
    return rows


def _row(name: str, target: Path, folder: Path, path: Path, action: Action, what: str) -> Row:
    return Row(name, target.relative_to(folder).as_posix(), str(path), action, what)


def _paths(case: CaseFiles) -> list[Path]:
    return [*case[1], *([case[2]] if case[2] is not None else [])]


def _targets(case: CaseFiles, folder: Path) -> list[Path]:
    """Where a case's files go, each with the ending of its original."""
    name, images, label = case
    into = folder / ("imagesTs" if label is None else "imagesTr")
    targets = [
        into / (f"{name}_{number:04d}" if len(images) > 1 else name)
        for number in range(len(images))
    ]
    if label is not None:
        targets.append(folder / "labelsTr" / name)
    return [
        target.with_name(target.name + path.name[len(case_id(path)) :])
        for path, target in zip(_paths(case), targets, strict=True)
    ]


def _nifti(target: Path) -> Path:
    return target.with_name(f"{case_id(target)}.nii.gz")


def _link(path: Path, target: Path) -> Path:
    """Link a file, and those that belong to it, into the copy; what has parts keeps its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    parts = files_of(path)
    if len(parts) > 1 and path.name.lower().endswith(DETACHED_SUFFIXES):
        target = target.with_name(path.name)  # its text names the others
    for part in parts:
        ending = part.name[len(case_id(part)) :]
        to = target if part == path else target.with_name(case_id(target) + ending)
        if len(parts) > 1 and path.name.lower().endswith(DETACHED_SUFFIXES):
            to = target.with_name(part.name)
        try:
            os.symlink(part.resolve(), to)
        except (OSError, NotImplementedError):
            shutil.copy2(part, to)
    return target


def _write_json(
    listing: Listing, folder: Path, cases: int, left_out: set[str], rows: list[Row]
) -> None:
    kept = sum(name not in left_out for name, _, _ in listing.cases)
    content = {key: value for key, value in listing.content.items() if key not in _REWRITTEN}
    content["numTraining"] = kept
    there = [case[0] for case in (*listing.cases, *listing.tests) if case[0] not in left_out]
    if isinstance(content.get(ANNOTATED), dict):
        content[ANNOTATED] = {
            key: names for key, names in content[ANNOTATED].items() if fits_any(key, there)
        }
    if isinstance(content.get(PATIENTS), dict) and left_out:
        content[PATIENTS] = of_cases_left(content[PATIENTS], there)
    names = [row.file for row in rows if row.file]
    endings = {Path(name).name[len(case_id(name)) :] for name in names}
    if len(endings) == 1:
        content["file_ending"] = endings.pop()
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / "dataset.json", lambda stream: stream.write(text.encode()))


def _link_others(listing: Listing, folder: Path, left_out: set[str]) -> None:
    """Other files of the dataset's root; folds without the cases that were left out."""
    for path in sorted(listing.root.iterdir()):
        if path.name in _SPLITS and left_out:
            _write_splits(path, folder / path.name, left_out)
        elif path.is_file() and path.name not in ("dataset.json", LOG) and path.name[0] != ".":
            _link(path, folder / path.name)


def _write_splits(path: Path, target: Path, left_out: set[str]) -> None:
    try:
        folds = json.loads(path.read_text(encoding="utf-8-sig"))
        kept = [
            {half: [name for name in names if name not in left_out] for half, names in fold.items()}
            for fold in folds
        ]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DatasetError(f"{path}: cannot be read as folds ({error}); correct it") from None
    text = json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
    write_atomically(target, lambda stream: stream.write(text.encode()))


def _write_log(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow([field.name for field in fields(Row)])
    table.writerows(astuple(row) for row in rows)
    content = text.getvalue().encode("utf-8", "backslashreplace")
    write_atomically(path, lambda stream: stream.write(content))
