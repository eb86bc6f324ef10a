"""Label maps that lie elsewhere than their images, found from the files' headers alone."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import DatasetError
from ..geometry.placement import why_elsewhere
from ..images.reading import read_grid
from ..progress import progressed
from .dataset import DatasetCase

_NAMED = 10  # cases that an error lists


def check_placement(case: str, image: Path, label: Path) -> None:
    """Refuse a label map that does not lie on its image; only the two headers are read.

    Args:
        case: the case's id.
        image: its image's file.
        label: its label map's file.

    Raises:
        DatasetError: names both files, the distance in mm and a likely cause.
        ImageError: a header cannot be read.
    """
    why = why_elsewhere(read_grid(image), read_grid(label))
    if why is not None:
        raise misplaced(case, str(image), str(label), why)


def check_placements(cases: Sequence[DatasetCase]) -> None:
    """Refuse a dataset with label maps that do not lie on their images; see `check_placement`.

    Args:
        cases: labelled ones; the others are passed over.

    Raises:
        DatasetError: describes the first such case and names the others.
        ImageError: a header cannot be read.
    """
    first: DatasetError | None = None
    others: list[str] = []
    for case in progressed(cases, len(cases), "checking where the labels lie", delay=1):
        if case.label is None:
            continue
        try:
            for image in case.images:
                check_placement(case.id, image, case.label)
        except DatasetError as error:
            if first is None:
                first = error
            else:
                others.append(case.id)
    if first is not None:
        more = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
        raise DatasetError(f"{first}. The same in {len(others)} more: {more}") if others else first


def misplaced(case: str, image: str, label: str, why: str) -> DatasetError:
    """The error for a label map that lies elsewhere than its image.

    Args:
        case: the case's id.
        image: its image, in words.
        label: its label map, in words.
        why: of `data.geometry.placement.why_elsewhere`.
    """
    return DatasetError(f"{label}: case {case}: it does not lie on its image {image}: {why}")
