"""A CSV of a user's: a line per case with its image and its label map."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from ...errors import ConfigError
from ..importing.pairs.pairing import Pair, Pairing
from ..importing.source import id_of

_CASE = ("case", "case_id", "caseid", "id")
_PATIENT = ("patient", "patient_id", "patientid", "subject", "subject_id")
_LABEL = ("label", "labels", "mask", "seg", "segmentation")
_IMAGE = re.compile(r"(image|scan|ct|channel)s?([ _-]?\d+)?|image[ _-].+|channel[ _-].+")


def read_pairing_table(path: Path) -> Pairing:
    """The cases of a CSV with the columns case, image and label.

    Several image columns (image_1, image_2, or image_t1, image_t2) are the channels, in the order
    of the columns. Paths are relative to the table's folder. Without a column case the id is the
    image's name. A column patient says which cases are one patient's; where it alone is there, and
    no patient twice, it is the id. An empty label is a case without one.

    Raises:
        ConfigError: it cannot be read, lacks a column, a line lacks its image, a file is not
            there, or a case is there twice.
    """
    rows = _rows(path)
    header = [name.strip().lower() for name in rows[0]]
    images = [index for index, name in enumerate(header) if _IMAGE.fullmatch(name)]
    label = next((header.index(name) for name in _LABEL if name in header), None)
    case = next((header.index(name) for name in _CASE if name in header), None)
    patient = next((header.index(name) for name in _PATIENT if name in header), None)
    if case is None and patient is not None and _is_unique(rows[1:], patient):
        case, patient = patient, None
    if not images or label is None:
        raise ConfigError(
            f"{path}: its columns are {', '.join(header)}; it needs image and label, and may have "
            "case; several image columns (image_1, image_2) are channels"
        )
    pairs: dict[str, Pair] = {}
    unpaired: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
        if not any(cells):
            continue
        files = tuple(_file(cells[index], path, number) for index in images)
        name = cells[case] if case is not None else _stem(files[0])
        key = id_of(name).casefold()
        if not name or key in pairs:
            why = f"the case {name} is there twice" if name else "the case is empty"
            raise ConfigError(f"{path}: line {number}: {why}; correct it")
        if not cells[label]:
            unpaired[f"line {number}"] = f"no label map of the case {name!r}"
            continue
        whose = cells[patient] if patient is not None else ""
        pairs[key] = Pair(id_of(name), files, _file(cells[label], path, number), patient=whose)
    return Pairing(path, tuple(pairs[key] for key in sorted(pairs)), unpaired, path.name)


def _is_unique(rows: list[list[str]], column: int) -> bool:
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    found = [row[column].strip() if column < len(row) else "" for row in filled]
    return len(set(found)) == len(found) and all(found)


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        separator = max(",;\t", key=first.count)
        rows = list(csv.reader(text.splitlines(), delimiter=separator))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as a CSV ({error}); save it as UTF-8") from None
    if not rows:
        raise ConfigError(f"{path}: is empty; it needs the columns case, image, label")
    return rows


def _file(cell: str, table: Path, number: int) -> Path:
    if not cell:
        raise ConfigError(f"{table}: line {number}: the image is empty; add it")
    path = table.absolute().parent / Path(cell).expanduser()
    if not path.exists():
        raise ConfigError(f"{table}: line {number}: {path} does not exist; check the path")
    return path


def _stem(path: Path) -> str:
    from ...images.names import case_id

    return case_id(path)
