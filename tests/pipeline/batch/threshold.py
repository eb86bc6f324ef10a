"""A run whose masks are known voxel by voxel: the network marks what is denser than 100 HU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from gridgate.pipeline.batch.case_dataset import CaseDataset, case_loader
from gridgate.pipeline.batch.evaluator import CaseEvaluator
from gridgate.pipeline.batch.results.case_table import CaseTable
from gridgate.pipeline.batch.results.table_file import read_case_table
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.transforms import LoadCased, postprocessing

LABELS = ["background", "dense"]
TABLES = ["labels.ctbl", "labels.json", "labels.label"]
"""What lies beside the masks of a run."""
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


class Threshold(torch.nn.Module):
    """Logits of background and of what is above 100."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        above = (windows - 100) / 10
        return torch.cat([-above, above], 1)


class Read:
    """The scan as it is, without resampling."""

    def __init__(self) -> None:
        self.load = LoadCased(["image"], keep_scan=True)

    def __call__(self, data: Any) -> Any:
        result = self.load(data)
        assert isinstance(result["image"], MetaTensor)
        return result


def write_scan(path: Path, *, seed: int = 0) -> NDArray[np.bool_]:
    """A scan of random blocks; where it is dense."""
    blocks = np.random.default_rng(seed).integers(0, 2, (3, 3, 3)) * 300 - 50
    array = np.kron(blocks, np.ones((4, 4, 4))).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    dense: NDArray[np.bool_] = array > 100
    return dense


def evaluator(
    items: Sequence[dict[str, Any]],
    output: Path,
    *,
    settings: Any = None,
    after: dict[str, Any] | None = None,
    postprocess: Any = None,
    **options: Any,
) -> CaseEvaluator:
    """An engine over the items."""
    dataset = CaseDataset(items, Read())
    defaults: dict[str, Any] = {
        "device": "cpu",
        "val_data_loader": case_loader(dataset),
        "network": Threshold(),
        "inferer": SlidingWindow((8, 8, 8), overlap=0.25, amp=False),
        "postprocessing": postprocess
        or postprocessing(output_dir=output, labels=LABELS, **(after or {})),
        "table": CaseTable(output, labels=LABELS, settings=settings),
        "isolate": False,
    }
    return CaseEvaluator(**{**defaults, **options})


def run(items: Sequence[dict[str, Any]], output: Path, **options: Any) -> dict[str, dict[str, str]]:
    """Run, and the table by case."""
    evaluator(items, output, **options).run()
    return table(output)


def table(output: Path) -> dict[str, dict[str, str]]:
    return {row["case"]: row for row in read_case_table(output / "cases.csv")}


def mask(path: Path) -> NDArray[np.generic]:
    return np.asarray(nib.load(path).dataobj)
