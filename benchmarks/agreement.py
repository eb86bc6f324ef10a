"""How far masks agree: equal voxels, Dice per label, and what of the rest lies at borders.

As a program it reads a job {"pairs": [[mask, mask], ...], "result": path} and writes one answer a
pair.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def compare(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Two label maps of one grid: voxels, differing ones, those at a border, Dice per label.

    A differing voxel is at a border when one of its six neighbours has another label than itself,
    in one of the maps.

    Raises:
        ValueError: the maps differ in shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"masks of {first.shape} and {second.shape} voxels cannot be compared")
    count = int(max(first.max(), second.max())) + 1
    table = np.zeros((count, count), np.int64)
    for a, b in zip(
        first, second, strict=True
    ):  # a plane at a time: bincount takes 8 bytes a voxel
        pairs = a.astype(np.int64).ravel() * count + b.ravel().astype(np.int64)
        table += np.bincount(pairs, minlength=count * count).reshape(count, count)
    sizes = table.sum(0) + table.sum(1)
    dice = {
        label: float(2 * table[label, label] / sizes[label])
        for label in np.flatnonzero(sizes).tolist()
    }
    differing = first != second
    at_border = differing & (_borders(first) | _borders(second))
    return {
        "voxels": int(first.size),
        "differing": int(differing.sum()),
        "differing_at_border": int(at_border.sum()),
        "dice": dice,
    }


def _borders(labels: np.ndarray) -> np.ndarray:
    found = np.zeros(labels.shape, bool)
    for axis in range(3):
        ahead = tuple(slice(1, None) if other == axis else slice(None) for other in range(3))
        behind = tuple(slice(None, -1) if other == axis else slice(None) for other in range(3))
        change = labels[ahead] != labels[behind]
        found[ahead] |= change
        found[behind] |= change
    return found


def _read(path: str) -> np.ndarray:
    """A mask's labels; the model zoo's are float32."""
    return np.asarray(nib.load(path).dataobj).astype(np.uint16)


def _affines_agree(first: str, second: str) -> bool:
    return bool(np.allclose(nib.load(first).affine, nib.load(second).affine, atol=1e-3))


def main() -> None:
    """Compare the pairs of a job file."""
    job = json.loads(Path(sys.argv[1]).read_text())
    answers = []
    for first, second in job["pairs"]:
        answers.append(
            {**compare(_read(first), _read(second)), "same_affine": _affines_agree(first, second)}
        )
    Path(job["result"]).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
