"""The page of a check: each finding in words, each case that can be read as a picture."""

import io
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from gridgate.data.datasets.dataset import load_dataset, write_dataset_json
from gridgate.data.datasets.soundness.checking import check_soundness
from gridgate.data.datasets.soundness.listing import list_cases
from gridgate.data.datasets.soundness.mending.case import open_case
from gridgate.pipeline.reports import check_page
from gridgate.pipeline.reports.check_page import write_check_page
from gridgate.pipeline.reports.pictures.labels import label_colour


@pytest.fixture(scope="module")
def odd(phantom_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound case, one whose label map is 60 mm off, one that is cut off, one test case."""
    root = tmp_path_factory.mktemp("page") / "D & <D>"
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (root / folder).mkdir(parents=True)
    cases = load_dataset(phantom_dataset).cases
    for case, name in zip(cases, ("sound", "moved", "cut_off"), strict=False):
        assert case.label is not None
        for path in (case.images[0], case.label):
            content = path.read_bytes()
            target = root / path.parent.name / f"{name}.nii.gz"
            if name == "moved" and path == case.label:
                image = nib.load(path)
                affine = image.affine.copy()
                affine[0, 3] += 60
                nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), target)
            elif name == "cut_off":
                target.write_bytes(content[: len(content) // 2])
            else:
                target.write_bytes(content)
    (root / "imagesTs" / "again.nii.gz").write_bytes((root / "imagesTr/sound.nii.gz").read_bytes())
    write_dataset_json(root, "Odd", load_dataset(phantom_dataset).labels, ("CT",), 3)
    return root


def test_each_finding_is_there_and_each_readable_case_has_a_picture(
    odd: Path, tmp_path: Path
) -> None:
    report = check_soundness(odd, workers=1)
    path = write_check_page(tmp_path / "page", report)
    text = path.read_text()
    assert path == tmp_path / "page" / "check.html"
    for finding in report.findings:
        assert f"{finding.level}: {finding.kind}. " in text
    assert "Check of D &amp; &lt;D&gt;" in text
    pictures = {file.name for file in (tmp_path / "page" / "pictures").iterdir()}
    assert pictures == {"moved.png", "again.png"}
    assert len(re.findall('src="data:image/png', text)) == 2


def test_a_picture_shows_the_label_map_where_it_is_and_where_it_should_be(
    odd: Path, tmp_path: Path
) -> None:
    write_check_page(tmp_path, check_soundness(odd, workers=1))
    picture = imread(io.BytesIO((tmp_path / "pictures" / "moved.png").read_bytes()))[..., :3]
    outlined = 0
    for value in (1, 2, 3):
        outlined += int((np.abs(picture - to_rgb(label_colour(value))).max(axis=-1) < 0.06).sum())
    assert outlined > 500


def test_no_more_pictures_than_asked_for(odd: Path, tmp_path: Path) -> None:
    report = check_soundness(odd, workers=1)
    text = write_check_page(tmp_path, report, pictures=0).read_text()
    assert 'src="data:image/png' not in text
    assert "Further cases, without pictures" in text
    assert "label-shifted" in text


def test_voxels_to_ignore_are_declared(phantom_dataset: Path, tmp_path: Path) -> None:
    root = tmp_path / "D"
    dataset = load_dataset(phantom_dataset)
    for case in dataset.cases[:1]:
        assert case.label is not None
        for path in (case.images[0], case.label):
            target = root / path.parent.name / "one.nii.gz"
            target.parent.mkdir(parents=True)
            image = nib.load(path)
            array = np.asarray(image.dataobj)
            if path == case.label:
                array = array.astype(np.float32)
                array[:, :, -2:] = 255
                array[array > 0] -= np.float32(0.05)
            nib.save(nib.Nifti1Image(array, image.affine), target)
    write_dataset_json(root, "Ignored", {**dataset.labels, "ignore": 255}, ("CT",), 1)
    listing = list_cases(root)
    case = listing.cases[0]
    report = check_soundness(root, workers=1)
    assert report.of_kind("label-fractions")
    opened = open_case(case, listing)
    after = check_page._mended(case, report.findings, listing)
    assert after is not None and after.label is not None
    assert (np.asarray(after.label.array)[:, :, -2:] == 255).all()
    figure = check_page._figure(opened, after, listing, "one")
    told = [text.get_text() for axes in figure.axes for text in axes.texts]
    for legend in (*figure.legends, *(axes.get_legend() for axes in figure.axes)):
        told += [] if legend is None else [text.get_text() for text in legend.get_texts()]
    told += [text.get_text() for text in figure.texts]
    assert any("ignore" in text for text in told)
    assert not any("not declared" in text for text in told)
