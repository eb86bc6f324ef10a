"""A label map whose axes run otherwise than its image's keeps its place in the patient."""

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.soundness.checking import check_soundness
from gridgate.data.datasets.soundness.findings import Finding
from gridgate.data.datasets.soundness.mending.copy import write_mended
from gridgate.data.datasets.soundness.mending.steps import Opened, Volume, mend
from gridgate.data.errors import DatasetError

LPS = np.diag([-2.0, -2.0, 3.0, 1.0])
LPS[:3, 3] = 40, 50, -60
SHAPE = (6, 7, 8)
LABELS = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
"""In the order of the image's voxels."""


def turned(axes: str) -> nib.Nifti1Image:
    """The label map as another program stores it, in the same place."""
    image = nib.Nifti1Image(LABELS, LPS)
    target = nib.orientations.axcodes2ornt(tuple(axes))
    start = nib.io_orientation(LPS)
    return image.as_reoriented(nib.orientations.ornt_transform(start, target))


def opened(label: nib.Nifti1Image, off: float) -> Opened:
    """A case whose label map lies `off` mm beside where it should, along the patient's x."""
    affine = label.affine.copy()
    affine[0, 3] += off
    image = Volume(np.zeros(SHAPE, np.int16), LPS.copy())
    return Opened([image], Volume(np.asarray(label.dataobj), affine))


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SAR", "PIL"])
@pytest.mark.parametrize(("kind", "off"), [("label-nearly", 0.4), ("label-half-voxel", 1.0)])
def test_what_lies_nearly_right_is_turned(axes: str, kind: str, off: float) -> None:
    case = opened(turned(axes), off)
    mend(case, Finding(kind, "warning", "one", ""), [0, 1, 2])
    assert case.label is not None
    assert np.array_equal(case.label.array, LABELS)
    assert np.array_equal(case.label.affine, LPS)
    assert ("order of the image's" in " ".join(case.label.done)) == (axes != "LPS")


@pytest.mark.parametrize("kind", ["label-shifted", "label-turned", "label-spacing"])
def test_what_lies_elsewhere_needs_a_person(kind: str) -> None:
    case = opened(turned("LPS"), 30)
    mend(case, Finding(kind, "error", "one", ""), [0, 1, 2])
    assert case.label is not None and np.array_equal(case.label.array, LABELS)
    with pytest.raises(DatasetError, match="run to RAS, the image's to LPS"):
        mend(opened(turned("RAS"), 30), Finding(kind, "error", "one", ""), [0, 1, 2])


def test_in_a_dataset(small: Callable[..., Path], tmp_path: Path) -> None:
    root = small(3)
    file, *_, far = sorted((root / "labelsTr").glob("*.nii.gz"))
    sound = nib.load(file)
    voxels = np.asarray(sound.dataobj)
    other = "RAS" if "".join(nib.aff2axcodes(sound.affine)) != "RAS" else "LPS"
    for path, part in ((file, 0.2), (far, 30.0)):
        whole = nib.load(path)
        moved = whole.affine.copy()
        moved[:3, 3] += part * moved[:3, 0]
        image = nib.Nifti1Image(np.asarray(whole.dataobj), moved)
        target = nib.orientations.axcodes2ornt(tuple(other))
        start = nib.io_orientation(moved)
        nib.save(image.as_reoriented(nib.orientations.ornt_transform(start, target)), path)
    report = check_soundness(root, workers=1)
    kinds = {one.kind for one in report.findings}
    assert {"label-nearly", "label-shifted"} <= kinds
    write_mended(report, tmp_path / "mended")
    made = nib.load(tmp_path / "mended/labelsTr" / file.name)
    assert np.array_equal(np.asarray(made.dataobj), voxels)
    assert np.allclose(made.affine, sound.affine, atol=1e-4)
    with open(tmp_path / "mended/mended.csv", newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    assert rows[f"labelsTr/{far.name}"]["action"] == "not mended"
    assert "axes run to" in rows[f"labelsTr/{far.name}"]["what"]
