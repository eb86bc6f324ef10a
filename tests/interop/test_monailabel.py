"""MONAI Label's own tasks run our bundles: its files, its transforms taken out, its data lists."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from environments import needs, run_inside

from gridgate.pipeline.workflow import BundleRun

pytestmark = [needs("monailabel"), pytest.mark.slow]

ANTERIOR_POSTERIOR = {
    "labels": ["background", "anterior", "posterior"],
    "modality": "MR",
    "spacing": [1.0, 1.0, 1.0],
    "intensity": {"mode": "zscore"},
    "body_threshold": None,
}


def infer(bundle: Path, scan: Path, output: Path, **words: str) -> np.ndarray:
    words = {"input_dir": str(scan), "output_dir": str(output), "isolate": "false", **words}
    run = BundleRun(bundle, "inference.yaml", "inferring", words)
    run.initialize()
    run.run()
    (mask,) = output.glob("*.nii.gz")
    return np.asarray(nib.load(mask).dataobj)


@pytest.mark.parametrize("in_memory", [False, True])
def test_inference_gives_each_voxel_of_gridgate_infer_and_writes_nothing(
    in_memory: bool, make_bundle: Any, shared_data: Path, tmp_path: Path
) -> None:
    scan = shared_data / "ct" / "totalsegmentator_3mm"
    scan = next(path for path in sorted(scan.glob("*.nii.gz")) if "ct" in path.name.lower())
    bundle = make_bundle("segmentation")
    server = tmp_path / "server"
    server.mkdir()
    found = run_inside(
        "monailabel",
        "label_infer.py",
        cwd=server,
        bundle=str(bundle),
        scan=str(scan),
        in_memory=in_memory,
        out=str(tmp_path / "labels.npy"),
    )
    theirs = np.load(tmp_path / "labels.npy")
    ours = infer(bundle, scan, tmp_path / "masks")
    assert found["valid"] and found["config"] == "inference.json"
    assert found["labels"] == {"one": 1, "two": 2}
    assert len(np.unique(ours)) == 3  # or the comparison says little
    np.testing.assert_array_equal(theirs, ours)
    np.testing.assert_allclose(found["affine"], nib.load(scan).affine, atol=1e-4)
    assert found["left"] == []
    assert not [name for name in found["post"] if name.startswith("Write")]


def hippocampus(shared_data: Path, *numbers: int) -> list[dict[str, str]]:
    folder = shared_data / "msd_hippocampus"
    images = sorted((folder / "imagesTr").glob("*.nii.gz"))
    return [
        {
            "image": str(images[number]),
            "label": str(folder / "labelsTr" / images[number].name),
        }
        for number in numbers
    ]


def mean_dice(mask: np.ndarray, label: Path) -> float:
    truth = np.asarray(nib.load(label).dataobj)
    dice = [
        2
        * ((mask == value) & (truth == value)).sum()
        / ((mask == value).sum() + (truth == value).sum())
        for value in (1, 2)
    ]
    return float(np.mean(dice))


def test_two_rounds_of_fine_tuning_improve_dice(
    make_bundle: Any, shared_data: Path, tmp_path: Path
) -> None:
    bundle = make_bundle("segmentation", **ANTERIOR_POSTERIOR)
    first = (bundle / "models" / "model.pt").read_bytes()
    server = tmp_path / "server"
    server.mkdir()
    found = run_inside(
        "monailabel",
        "label_train.py",
        cwd=server,
        bundle=str(bundle),
        rounds=[hippocampus(shared_data, 0), hippocampus(shared_data, 0, 1, 2)],
        request={"max_epochs": 12, "pretrained": True, "val_split": 0.2},
    )
    assert [one["error"] for one in found["rounds"]] == [None, None]
    assert found["left"] == []
    (unseen,) = hippocampus(shared_data, 5)
    before = tmp_path / "before.pt"
    before.write_bytes(first)
    dice = [
        mean_dice(
            infer(bundle, Path(unseen["image"]), tmp_path / f"m{n}", checkpoint=str(weights)),
            Path(unseen["label"]),
        )
        for n, weights in enumerate([before, *(one["weights"] for one in found["rounds"])])
    ]
    assert dice[1] > dice[0] + 0.1 and dice[2] > dice[1] + 0.1
    # the weights that were there before are kept, once: the second round replaces the first
    kept = [path.relative_to(bundle).as_posix() for path in bundle.glob("before_*/models/*")]
    assert kept == ["before_fine_tuning/models/model.pt"]
    assert (bundle / kept[0]).read_bytes() == first


def test_label_values_beyond_the_bundles_are_named(
    make_bundle: Any, shared_data: Path, tmp_path: Path
) -> None:
    (case,) = hippocampus(shared_data, 0)
    label = nib.load(case["label"])
    values = np.asarray(label.dataobj).astype(np.uint8)
    values[0, 0, :3] = 7
    nib.save(nib.Nifti1Image(values, label.affine), tmp_path / "beyond.nii.gz")
    bundle = make_bundle("segmentation", **ANTERIOR_POSTERIOR)
    first = (bundle / "models" / "model.pt").read_bytes()
    found = run_inside(
        "monailabel",
        "label_train.py",
        cwd=tmp_path,
        bundle=str(bundle),
        rounds=[[{**case, "label": str(tmp_path / "beyond.nii.gz")}]],
        request={"max_epochs": 1, "val_split": 0.0},
    )
    text = " ".join(found["rounds"][0]["error"])
    assert "beyond.nii.gz" in text and f"7 (3 of {values.size} voxels)" in text, text
    assert (bundle / "models" / "model.pt").read_bytes() == first
