"""MONAI Deploy's operators run our bundles, as a folder and as TorchScript: DICOM to DICOM SEG."""

import tarfile
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from environments import needs, run_inside

from gridgate.pipeline.models.export import export_bundle
from gridgate.pipeline.workflow import BundleRun

pytestmark = [needs("deploy"), pytest.mark.slow]


def labels_of(seg: Path, instances: list[str]) -> np.ndarray:
    """(slices, rows, columns) of a DICOM SEG, by the images that it refers to."""
    return hd.seg.segread(seg).get_pixels_by_source_instance(
        instances, combine_segments=True, assert_missing_frames_are_empty=True
    )


@pytest.mark.parametrize("form", ["folder", "torchscript"])
def test_dicom_in_dicom_seg_out_agrees_with_gridgate_infer(
    form: str, make_bundle: Any, shared_data: Path, tmp_path: Path
) -> None:
    # the SDK's own reader passes over abdomen_20_slices, whose UIDs are not of the standard's form
    with tarfile.open(shared_data / "dicom" / "crlm_ct_1004.tar.gz") as archive:
        archive.extractall(tmp_path / "dicom", filter="data")
    series = tmp_path / "dicom"
    bundle = make_bundle("abdomen", spacing=[4.0, 4.0, 5.0])
    given = bundle
    if form == "torchscript":
        given = export_bundle(bundle, bundle, tmp_path / "abdomen.ts")
    app = tmp_path / "app"
    app.mkdir()
    found = run_inside(
        "deploy",
        "deploy.py",
        cwd=app,
        bundle=str(given),
        dicom=str(series),
        out=str(tmp_path / "theirs"),
        labels=["one", "two"],
    )
    words = {"input_dir": str(series), "output_dir": str(tmp_path / "ours"), "isolate": "false"}
    run = BundleRun(bundle, "inference.yaml", "inferring", {**words, "dicom_seg": "true"})
    run.initialize()
    run.run()
    (ours,) = (tmp_path / "ours").rglob("*.seg.dcm")
    uids = [
        pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        for path in sorted(series.rglob("*"))
        if path.is_file() and pydicom.misc.is_dicom(path)
    ]
    assert len(uids) == 41
    a, b = labels_of(ours, uids), labels_of(Path(found["seg"]), uids)
    assert len(np.unique(a)) > 1  # or the comparison says little
    np.testing.assert_array_equal(a, b)
    assert found["left"] == []  # nothing is written for an image in memory
    assert found["steps"][0] == "LoadCased"
