"""Whatever stands in the tables, the page is written: DICOM, what is gone, and odd names."""

import csv
import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from gridgate.data.dicom.series import find_series
from gridgate.data.errors import ImageError
from gridgate.pipeline.batch.case import shown
from gridgate.pipeline.batch.results.case_table import CaseTable
from gridgate.pipeline.models.attention import attention_of
from gridgate.pipeline.reports.page import Page, Paragraph, Section, render
from gridgate.pipeline.reports.pictures.album import Album
from gridgate.pipeline.reports.pictures.scans import find_scan, read_scan
from gridgate.pipeline.reports.report import Run, write_report
from gridgate.pipeline.reports.sections import attention

from .test_report import Html

LABELS = ["background", "liver"]
AFFINE = np.array(
    [[-2.0, 0, 0, 30], [0, -2.0, 0, 40], [0, 0, 5.0, -100], [0, 0, 0, 1]]
)  # as pydicom's positions below say, from LPS to RAS


def volume() -> np.ndarray:
    """(X, Y, Z) HU, another number in each voxel's neighbourhood."""
    x, y, z = np.meshgrid(np.arange(24), np.arange(20), np.arange(6), indexing="ij")
    return (10 * x - 8 * y + 30 * z - 60).astype(np.int16)


def write_dicom(folder: Path, *, uid: str = "one") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k, plane in enumerate(np.moveaxis(volume(), 2, 0)):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.SOPInstanceUID = generate_uid(entropy_srcs=[uid, str(k)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.SeriesInstanceUID = generate_uid(entropy_srcs=[uid])
        data.StudyInstanceUID = data.FrameOfReferenceUID = generate_uid(entropy_srcs=["s"])
        data.Modality, data.InstanceNumber = "CT", k + 1
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.ImagePositionPatient = [-30, -40, -100 + 5 * k]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [2, 2], 5
        data.RescaleIntercept, data.RescaleSlope = -1024, 1
        data.Rows, data.Columns = plane.T.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation = 0
        data.PixelData = np.ascontiguousarray(plane.T + 1024).astype("<u2").tobytes()
        data.save_as(folder / f"{k}.dcm", enforce_file_format=True)


def write_run(folder: Path, inputs: Mapping[str, str]) -> Path:
    """An output folder of inference: a mask and a row per case."""
    table = CaseTable(folder, labels=LABELS)
    table.start({})
    mask = (volume() > 60).astype(np.uint8)
    for case, text in inputs.items():
        nib.save(nib.Nifti1Image(mask, AFFINE), folder / f"{case}.nii.gz")
        row = {"case": case, "input": text, "output": f"{case}.nii.gz", "status": "ok"}
        table.add(row | {"total_s": "1.0"})
    return folder


def page_of(tmp_path: Path, predictions: Path, labels: list[str] = LABELS) -> Html:
    run = Run(title="t", labels=labels, predictions_dir=predictions)
    return Html(write_report(tmp_path / "page" / "report.html", run).read_text(encoding="utf-8"))


def picture(tmp_path: Path, case: str) -> np.ndarray:
    content = (tmp_path / "page" / "pictures" / f"{case}.png").read_bytes()
    return imread(io.BytesIO(content))


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(folder.iterdir()):
            file.write(one, one.name)
    return path


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(volume(), AFFINE), tmp_path / "volume.nii.gz")
    return tmp_path / "volume.nii.gz"


def test_dicom_cases_are_shown_as_the_same_scan_in_nifti_is(tmp_path: Path, nifti: Path) -> None:
    write_dicom(tmp_path / "series")
    write_dicom(tmp_path / "both" / "a", uid="a")
    write_dicom(tmp_path / "both" / "b", uid="b")
    archive = zipped(tmp_path / "series")
    texts = {"nifti": str(nifti)}
    for name, source in (("folder", tmp_path / "series"), ("zip", archive)):
        (series,), _ = find_series(source)
        texts[name] = shown(series)
    several, _ = find_series(tmp_path / "both")
    assert len(several) == 2
    texts["second"] = shown(several[1])
    for case in texts:  # each alone: the name is printed in its picture
        folder = write_run(tmp_path / f"out_{case}", {"case": texts[case]})
        html = page_of(tmp_path / case, folder)
        assert not any("No picture" in text for text in html.text)
        np.testing.assert_array_equal(
            picture(tmp_path / case, "case"), picture(tmp_path / "nifti", "case")
        )


def test_a_row_leads_back_to_its_files(tmp_path: Path, nifti: Path) -> None:
    other = shutil.copy(nifti, tmp_path / "t2.nii.gz")
    assert find_scan(shown([nifti, other])) == [nifti, Path(other)]
    odd = shutil.copy(nifti, tmp_path / "a;b (series 1).nii.gz")
    assert find_scan(str(odd)) == Path(odd)
    np.testing.assert_array_equal(read_scan(str(odd)).array, volume())
    with pytest.raises(ImageError, match="no longer holds this series"):
        find_scan(f"{tmp_path} (series 1.2.3)")


def test_what_is_gone_is_told_and_the_others_are_shown(tmp_path: Path, nifti: Path) -> None:
    write_dicom(tmp_path / "series")
    (series,), _ = find_series(tmp_path / "series")
    texts = {"gone_series": shown(series), "gone_file": str(tmp_path / "no.nii.gz")}
    texts |= {"gone_mask": str(nifti), "here": str(nifti)}
    shutil.rmtree(tmp_path / "series")
    folder = write_run(tmp_path / "out", texts)
    (folder / "gone_mask.nii.gz").unlink()
    run = Run(title="t", labels=LABELS, predictions_dir=folder, pictures=4)
    text = Html(write_report(tmp_path / "page" / "report.html", run).read_text()).text
    told = [line for line in text if "No picture: " in line]
    assert [line.split()[0] for line in told] == ["gone_series", "gone_file", "gone_mask"]
    assert picture(tmp_path, "here").ndim == 3


def test_attention_is_shown_for_a_series_and_told_where_it_cannot_be(
    tmp_path: Path, nifti: Path, trained: tuple[Path, Path, Path]
) -> None:
    bundle, checkpoint, _ = trained
    write_dicom(tmp_path / "series")
    (series,), _ = find_series(tmp_path / "series")
    maps = attention_of(bundle, checkpoint, series)
    expected = attention_of(bundle, checkpoint, nifti)
    assert maps is not None and expected is not None
    np.testing.assert_allclose(maps.affine, expected.affine, atol=1e-6)
    for gate, values in expected.coefficients.items():
        np.testing.assert_allclose(maps.coefficients[gate], values, atol=1e-6)
    folder = write_run(tmp_path / "out", {"case": shown(series)})
    album = Album(tmp_path / "pictures")
    section = attention(bundle, checkpoint, folder, album)
    assert section is not None and (album.folder / "attention.png").is_file()
    shutil.rmtree(tmp_path / "series")
    told = attention(bundle, checkpoint, folder, album)
    assert told is not None and "no maps: " in str(told.blocks[0])


@pytest.mark.parametrize("name", ["cost_$5$ & <script>x</script>", "_$", "ünï_肝", "a\"b'c"])
def test_names_are_neither_html_nor_formulas(tmp_path: Path, nifti: Path, name: str) -> None:
    folder = write_run(tmp_path / "out", {"case": str(nifti)})
    html = page_of(tmp_path, folder, ["background", name])
    assert html.tags.count("script") == 2 and f"{name.replace('_', ' ')} ml" in html.text


def test_case_ids_are_neither_html_nor_formulas(tmp_path: Path, nifti: Path) -> None:
    name = "$x$ <b>&amp;"
    folder = write_run(tmp_path / "out", {name: str(nifti)})
    html = page_of(tmp_path, folder)
    assert name in html.text and "b" not in html.tags and picture(tmp_path, name).ndim == 3


def test_bytes_that_are_no_text_do_not_end_it(tmp_path: Path, nifti: Path) -> None:
    folder = write_run(tmp_path / "out", {"case": str(nifti)})
    rows = (folder / "cases.csv").read_bytes()
    (folder / "cases.csv").write_bytes(rows.replace(b"\ncase,", b"\nca\xffse,"))
    assert any("ca\\udcffse" in text for text in page_of(tmp_path, folder).text)


def test_a_case_called_as_a_curve_keeps_its_picture(tmp_path: Path, nifti: Path) -> None:
    training = tmp_path / "training"
    training.mkdir()
    with open(training / "metrics_train.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["epoch", "iteration", "seconds", "loss", "learning_rate", "dice_mean"],
                [1, 10, 1.0, 0.5, 0.1, 0.5],
            ]
        )
    folder = write_run(tmp_path / "out", {"loss": str(nifti), "sub": str(nifti)})
    run = Run(title="t", labels=LABELS, training_dir=training, predictions_dir=folder)
    write_report(tmp_path / "page" / "report.html", run)
    names = {path.name for path in (tmp_path / "page" / "pictures").iterdir()}
    assert names == {"loss.png", "dice.png", "loss_2.png", "sub.png"}


def test_a_training_without_validation_has_no_curve_of_dice(tmp_path: Path) -> None:
    training = tmp_path / "training"
    training.mkdir()
    names = ["epoch", "iteration", "seconds", "loss", "learning_rate", "dice_mean", "dice_a"]
    with open(training / "metrics_train.csv", "w", newline="") as file:
        csv.writer(file).writerows([names, [1, 10, 1.0, 0.5, 0.1, "nan", "nan"]])
    write_report(tmp_path / "r.html", Run(title="t", labels=LABELS, training_dir=training))
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"loss.png"}
    text = (tmp_path / "r.html").read_text()
    assert "No Dice was measured meanwhile" in text and "nan" not in text


def test_every_place_of_the_template_escapes() -> None:
    evil = "<i>&\"'"
    page = Page(evil, evil, [(evil, evil)], [Section(evil, [Paragraph(evil, kind="bad")])])
    html = Html(render(page).decode())
    assert html.text.count(evil) == 7 and "i" not in html.tags
