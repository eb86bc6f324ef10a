"""Dataset folders of empty files, for what dataset.json says of them."""

import json
from pathlib import Path
from typing import Any

NEW: dict[str, Any] = {
    "name": "Livers",
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def folder(root: Path, content: dict[str, Any] | str, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "dataset.json").write_text(text, encoding="utf-8")
    return root


def old(*cases: tuple[str, str], **more: object) -> dict[str, Any]:
    return {
        "name": "Old",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver"},
        "training": [{"image": image, "label": label} for image, label in cases],
        "test": [],
        **more,
    }


PAIR = ("imagesTr/a.nii.gz", "labelsTr/a.nii.gz")
