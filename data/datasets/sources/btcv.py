"""BTCV, also called Synapse multi-organ CT: its RawData folder, with the splits that papers use.

The data are those of the MICCAI 2015 challenge "Multi-Atlas Labeling Beyond the Cranial Vault"
(https://www.synapse.org/Synapse:syn3193805), which are got by registering there.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import DatasetError
from ...files import settled
from ...images.names import case_id
from ..folds import Split, make_folds
from ..importing.source import LabelFile, Source, SourceCase

LICENCE = "terms of use of Synapse syn3193805"
ORGANS = (
    *("spleen", "right_kidney", "left_kidney", "gallbladder", "esophagus", "liver", "stomach"),
    *("aorta", "inferior_vena_cava", "portal_and_splenic_veins", "pancreas"),
    *("right_adrenal_gland", "left_adrenal_gland"),
)
"""In the order of their values, from 1."""

VALIDATION_24_6 = ("0035", "0036", "0037", "0038", "0039", "0040")
"""The six that UNETR's and Swin UNETR's public lists validate on."""
VALIDATION_18_12 = (
    *("0001", "0002", "0003", "0004", "0008", "0022"),
    *("0025", "0029", "0032", "0035", "0036", "0038"),
)
"""The twelve that TransUNet and those after it test on."""

_NUMBERED = re.compile(r"(img|label)(\d{4})")
_FOLDS = 5


def is_btcv(folder: Path) -> bool:
    """Whether a folder is RawData, or holds it."""
    return _training(folder) is not None


def btcv_source(folder: Path) -> Source:
    """The source that BTCV's RawData is.

    "splits.json" has five folds; "splits/24_6.json" and "splits/18_12.json" are for
    --splits: the ones of UNETR and of TransUNet.

    Args:
        folder: RawData, or what holds it: Training/img, Training/label, perhaps Testing/img.

    Raises:
        DatasetError: it is not there, or an image has no label map or the reverse.
    """
    training = _training(folder)
    if training is None:
        raise DatasetError(f"{folder}: holds no RawData/Training with img and label")
    images, labels = _numbered(training / "img"), _numbered(training / "label")
    alone = sorted(set(images) ^ set(labels))
    if alone:
        there = images.get(alone[0]) or labels[alone[0]]
        lacks = "label map" if alone[0] in images else "image"
        raise DatasetError(
            f"{there}: the case {alone[0]} lacks its {lacks} ({len(alone)} such); get it again"
        )
    cases = tuple(
        SourceCase(f"img{number}", (images[number],), LabelFile(labels[number]))
        for number in sorted(images)
    )
    testing = training.parent / "Testing" / "img"
    tests = _numbered(testing) if testing.is_dir() else {}
    return Source(
        "btcv",
        str(settled(folder)),
        "BTCV",
        cases,
        {"background": 0, **{organ: value for value, organ in enumerate(ORGANS, start=1)}},
        tuple(SourceCase(f"img{number}", (path,)) for number, path in sorted(tests.items())),
        licence=LICENCE,
        splits=_splits(sorted(images)),
        more={"reference": "https://www.synapse.org/Synapse:syn3193805"},
    )


def _splits(numbers: list[str]) -> dict[str, list[Split]]:
    ids = [f"img{number}" for number in numbers]
    found: dict[str, list[Split]] = {}
    if len(ids) >= _FOLDS:
        found["splits.json"] = make_folds(ids, folds=_FOLDS)
    for name, held in (("24_6", VALIDATION_24_6), ("18_12", VALIDATION_18_12)):
        validation = [f"img{number}" for number in numbers if number in held]
        train = [one for one in ids if one not in validation]
        found[f"splits/{name}.json"] = [{"train": train, "validation": validation}]
    return found


def _training(folder: Path) -> Path | None:
    for base in (folder, folder / "RawData"):
        if (base / "Training/img").is_dir() and (base / "Training/label").is_dir():
            return base / "Training"
    return None


def _numbered(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.iterdir()):
        match = _NUMBERED.fullmatch(case_id(path.name))
        if match is not None:
            found[match[2]] = path
    return found
