"""Windows of real cases, by which ranges of numbers are chosen."""

from __future__ import annotations

from typing import Any

import torch
from monai.bundle import ConfigParser

from ...data.datasets.parts import Part, dataset_cases
from ...data.errors import DatasetError
from ...data.progress import progressed
from ..batch.case import Case
from ..batch.processor import read_item

_SPLIT = ("fold", "folds", "split_seed", "splits")


def calibration_windows(parser: ConfigParser, dataset_dir: str, count: int) -> list[torch.Tensor]:
    """Windows (C_in, *roi) of the fold's training cases, as the network sees them.

    Args:
        parser: of an evaluation's config. Where it measures another part than the validation cases,
            windows are of that part: labels are not looked at.
        count: of windows, of as many cases as there are.

    Raises:
        DatasetError: there are no cases, or one cannot be read.
    """
    part = parser.get_parsed_content("part")
    split = {name: parser.get_parsed_content(name) for name in _SPLIT}
    measured: Part = "train" if part == "validation" else part
    items = dataset_cases(dataset_dir, part=measured, most=count, **split)
    if not items:
        raise DatasetError(f"{dataset_dir}: there are no {measured} cases to take windows of")
    transform = parser.get_parsed_content("preprocessing")
    inferer = parser.get_parsed_content("inferer")
    found: list[torch.Tensor] = []
    for index, item in enumerate(progressed(items, len(items), "reading windows", unit=" cases")):
        data = read_item(Case.of(_without_label(item)), transform)
        region = data.get("region")
        found += inferer.example_windows(
            data["image"],
            -(-(count - len(found)) // (len(items) - index)),  # what the others leave
            region=None if region is None else region[0],
            seed=index,
        )
    return found


def _without_label(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name in ("id", "image")}
