"""What a training wrote: its table, and whether two ended with the same weights."""

import csv
from pathlib import Path

import torch

LABELS = ["liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta"]


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics_train.csv", newline="") as file:
        return list(csv.DictReader(file))


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = (torch.load(path, weights_only=True) for path in (first, second))
    for part in ("network", "average"):
        assert a[part].keys() == b[part].keys()
        for name, tensor in a[part].items():
            assert torch.equal(tensor, b[part][name]), name
