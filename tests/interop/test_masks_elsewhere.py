"""Masks in the hands of nnU-Net and of 3D Slicer's slicerio, each in an environment of its own.

The environments lie in .interop/<name> at the repository's root; `make interop` makes them.
"""

import json
import os
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from gridgate.data.images.reading import read_image
from gridgate.data.images.writing import write_labels
from gridgate.data.label_tables.colors import color_of
from gridgate.data.label_tables.table import LabelTable

from ..pipeline.small_bundle import evaluate

ROOT = Path(__file__).resolve().parents[2]
READ = """
import json, sys, numpy, slicerio
found = slicerio.read_segmentation(sys.argv[1])
numpy.save(sys.argv[2], found.pop("voxels"))
found["ijkToLPS"] = numpy.asarray(found["ijkToLPS"]).tolist()
print(json.dumps({key: found[key] for key in ("segments", "ijkToLPS", "masterRepresentation")}))
"""


def run_in(environment: str, *words: str) -> str:
    """Run a program of an environment, or `python`; what it prints. Skips without it."""
    program = ROOT / ".interop" / environment / "bin" / words[0]
    if not program.exists():
        pytest.skip(f"{program} is not there: `make interop` makes the environment")
    ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [str(program), *words[1:]], env=variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_nnunets_own_evaluation_of_a_folder_of_masks(phantom_dataset: Path, tmp_path: Path) -> None:
    """labels.json is its dataset.json, and its plans as well; our Dice is its Dice."""
    masks = tmp_path / "masks"
    evaluate(phantom_dataset, masks, load_pretrain=False, part="all")
    table = str(masks / "labels.json")
    words = ["-djfile", table, "-pfile", table, "-o", str(tmp_path / "theirs.json"), "-np", "1"]
    truth = str(phantom_dataset / "labelsTr")
    run_in("nnunet", "nnUNetv2_evaluate_folder", truth, str(masks), *words)
    theirs = json.loads((tmp_path / "theirs.json").read_text())
    names = {
        str(value): name for name, value in json.loads(Path(table).read_text())["labels"].items()
    }
    rows = (masks / "metrics.csv").read_text().splitlines()
    columns = rows[0].split(",")
    ours = [dict(zip(columns, row.split(","), strict=True)) for row in rows[1:]]
    compared = 0
    for case in theirs["metric_per_case"]:
        file = Path(case["prediction_file"]).name
        for value, found in case["metrics"].items():
            (own,) = [
                row
                for row in ours
                if (f"{row['case']}.nii.gz", row["label"]) == (file, names[value])
            ]
            if found["n_pred"] + found["n_ref"]:
                assert float(own["dice"]) == pytest.approx(found["Dice"], abs=1e-6)
                compared += 1
    assert compared >= 6 and len(theirs["metric_per_case"]) == 6


@pytest.fixture
def labels() -> NDArray[np.uint8]:
    found = np.zeros((12, 10, 8), np.uint8)
    found[1:4, 2:9, 3] = 1
    found[6:, 5, 4:7] = 2
    return found


def test_slicerio_reads_segments(labels: NDArray[np.uint8], tmp_path: Path) -> None:
    affine = np.array([[0, -0.8, 0, 10], [0.7, 0, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(labels.astype(np.int16), affine), tmp_path / "scan.nii.gz")
    names = ["background", "left kidney", "liver tumor", "absent & <x>"]
    write_labels(
        tmp_path / "m.seg.nrrd",
        labels,
        like=read_image(tmp_path / "scan.nii.gz"),
        table=LabelTable.of(names),
    )
    paths = [str(tmp_path / "m.seg.nrrd"), str(tmp_path / "voxels.npy")]
    found = json.loads(run_in("viewers", "python", "-c", READ, *paths))
    np.testing.assert_array_equal(np.load(tmp_path / "voxels.npy"), labels)
    np.testing.assert_allclose(found["ijkToLPS"], np.diag([-1, -1, 1, 1]) @ affine, atol=1e-6)
    assert found["masterRepresentation"] == "Binary labelmap"
    kidney, tumor, absent = found["segments"]
    assert [one["name"] for one in (kidney, tumor, absent)] == names[1:]
    assert [one["labelValue"] for one in (kidney, tumor, absent)] == [1, 2, 3]
    assert kidney["extent"] == [1, 3, 2, 8, 3, 3] and absent["extent"] == [0, -1, 0, -1, 0, -1]
    for one in (kidney, tumor, absent):
        assert [round(part * 255) for part in one["color"]] == list(color_of(one["name"]))
    assert kidney["terminology"]["type"] == ["SCT", "64033007", "Kidney"]
    assert kidney["terminology"]["typeModifier"] == ["SCT", "7771000", "Left"]
    assert tumor["terminology"]["type"] == ["SCT", "108369006", "Neoplasm"]
    assert tumor["terminology"]["anatomicRegion"] == ["SCT", "10200004", "Liver"]
