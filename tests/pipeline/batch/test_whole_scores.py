"""Scores that are handed on as a whole tensor: whether they are logits or probabilities is kept."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer

from gridgate.pipeline.batch.case import Case
from gridgate.pipeline.batch.processor import CaseProcessor
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.pipeline.models.ensemble import Ensemble
from gridgate.transforms import postprocessing, preprocessing


class Halves(torch.nn.Module):
    """One logit: the sign of the image, less a half."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.sign() - 0.5


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A tenth of the voxels is above 0."""
    values = np.where(np.arange(4000).reshape(20, 20, 10) % 10 == 0, 100, -100).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def expected(scan: Path) -> np.ndarray:
    return np.asarray(nib.load(scan).dataobj) > 0


@pytest.mark.parametrize("inferer", ["ours", "monai"])
def test_an_ensemble_of_one_channel_decides_at_a_half(scan: Path, inferer: str) -> None:
    made: dict[str, Any] = {
        "ours": SlidingWindow([16, 16, 16]),
        "monai": SlidingWindowInferer([16, 16, 16]),
    }
    processor = CaseProcessor(
        transform=preprocessing(intensity={"mode": "window", "low": -1000, "high": 1000}),
        network=Ensemble([torch.nn.Sequential(Shift(), Halves())]),
        inferer=made[inferer],
        postprocessing=postprocessing(),
        labels=["background", "organ"],
        output_dir=scan.parent,
    )
    processor.prepare()
    work = processor.read(Case.of({"image": str(scan), "id": "scan"}))
    processor.segment(work)
    assert work.error is None
    processor.finish(work)
    assert work.error is None
    np.testing.assert_array_equal(np.asarray(work.data["pred"])[0] > 0, expected(scan))


@pytest.mark.parametrize("probabilities", [False, True])
def test_a_tool_that_calls_the_three_parts_gets_the_same_labels(
    scan: Path, probabilities: bool
) -> None:
    before = preprocessing(intensity={"mode": "window", "low": -1000, "high": 1000})
    case = before({"image": str(scan)})
    inferer = SlidingWindow([16, 16, 16], probabilities=probabilities)
    network = torch.nn.Sequential(Shift(), Halves())
    case["pred"] = inferer(case["image"][None], network)[0]
    found = postprocessing(of_probabilities=probabilities)(case)["pred"]
    np.testing.assert_array_equal(np.asarray(found)[0] > 0, expected(scan))


class Shift(torch.nn.Module):
    """From the window 0 to 1 to values around 0."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image - 0.5
