"""A bundle's own workflows: codes of its plan and names in masks, tables beside them."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import nibabel as nib
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ConfigError, user_error
from gridgate.data.label_tables.colors import color_of

from ..small_bundle import evaluate, infer

LABELS = ["background", "liver", "spleen", "right_kidney", "left_kidney", "pancreas", "aorta"]
TERMINOLOGY = {"spleen": {"type": ["99X", "MILZ", "Milz"]}}


def scans(dataset: Path, folder: Path) -> Path:
    folder.mkdir()
    first = min((dataset / "imagesTr").iterdir())
    (folder / first.name).symlink_to(first)
    return folder


def test_inference_of_segments_with_the_plans_codes(phantom_dataset: Path, tmp_path: Path) -> None:
    source, out = scans(phantom_dataset, tmp_path / "scans"), tmp_path / "out"
    infer(source, out, load_pretrain=False, output_ext=".seg.nrrd", terminology=TERMINOLOGY)
    (mask,) = out.glob("*.nrrd")
    assert mask.name == f"{next(source.iterdir()).name.removesuffix('.nii.gz')}.seg.nrrd"
    image = sitk.ReadImage(str(mask))
    names = [image.GetMetaData(f"Segment{index}_Name") for index in range(6)]
    assert names == LABELS[1:]
    assert "~99X^MILZ^Milz~" in image.GetMetaData("Segment1_Tags")
    assert "~SCT^10200004^Liver~" in image.GetMetaData("Segment0_Tags")
    before = mask.stat().st_mtime_ns
    infer(source, out, load_pretrain=False, output_ext=".seg.nrrd", terminology=TERMINOLOGY)
    assert mask.stat().st_mtime_ns == before, "it was done"
    infer(source, out, load_pretrain=False, output_ext=".seg.nrrd")
    assert mask.stat().st_mtime_ns > before, "other codes are other settings"


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"output_ext": ".png"}, "is not one of .nii.gz"),
        ({"terminology": {"milt": TERMINOLOGY["spleen"]}}, "milt, which is no foreground label"),
    ],
)
def test_settings_without_sense(
    option: dict[str, object], told: str, phantom_dataset: Path, tmp_path: Path
) -> None:
    source = scans(phantom_dataset, tmp_path / "scans")
    with pytest.raises(Exception, match=r".+") as caught:
        infer(source, tmp_path / "out", load_pretrain=False, **option)
    error = user_error(caught.value)
    assert isinstance(error, ConfigError) and told in str(error)
    assert not (tmp_path / "out").exists()


def test_an_evaluation_writes_names_and_tables(phantom_dataset: Path, tmp_path: Path) -> None:
    evaluate(phantom_dataset, tmp_path, load_pretrain=False)
    found = json.loads((tmp_path / "labels.json").read_text())
    assert found["labels"] == {name: value for value, name in enumerate(LABELS)}
    assert found["channel_names"] == {"0": "CT"} and found["file_ending"] == ".nii.gz"
    assert found["colors"]["liver"] == list(color_of("liver"))
    assert (tmp_path / "labels.ctbl").is_file() and (tmp_path / "labels.label").is_file()
    for path in tmp_path.glob("*.nii.gz"):
        (extension,) = nib.load(path).header.extensions
        names = [one.text for one in ET.fromstring(extension.content).iter("Label")]
        assert names == LABELS
