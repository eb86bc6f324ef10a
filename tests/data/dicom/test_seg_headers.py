"""DICOM SEG of series with headers as hospitals write them; read back by pydicom, highdicom."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DA, TM, PersonName, validate_value

from gridgate.data.dicom.seg import text, write_dicom_seg
from gridgate.data.dicom.seg.text import age, date, sex, time
from gridgate.data.dicom.series import find_series
from gridgate.data.dicom.volume import read_series

SeriesWriter = Callable[..., list[Path]]
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = ("AE", "AS", "CS", "DA", "DS", "IS", "LO", "PN", "SH", "ST", "TM", "UI")
KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"
JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
SPRING = "Haru^Koharu=春^小春"  # holds the byte of "=" in JIS X 0208


def setting(**values: object) -> Callable[[Dataset, int], None]:
    def change(data: Dataset, k: int) -> None:
        for tag, value in values.items():
            if value is None:
                delattr(data, tag)
            else:
                setattr(data, tag, value)

    return change


def raw(charset: str | Sequence[str], encoded: bytes) -> Callable[[Dataset, int], None]:
    """The bytes of the patient's name as they are, whatever the character set says."""

    def change(data: Dataset, k: int) -> None:
        data.SpecificCharacterSet = charset
        data.PatientName = PersonName(encoded)
        data.StudyDescription = "CT"

    return change


def written(
    tmp_path: Path, write_dicom: SeriesWriter, change: Callable[[Dataset, int], None]
) -> tuple[pydicom.Dataset, np.ndarray]:
    """The segmentation as pydicom reads it; its frames are compared with the labels first."""
    write_dicom(tmp_path / "ct", change=change)
    series, _ = find_series(tmp_path / "ct")
    labels = np.random.default_rng(0).integers(0, 2, (7, 5, 6)).astype(np.uint8)
    names = {1: "간 肝臓 печень"}
    write_dicom_seg(tmp_path / "seg.dcm", labels, series=series[0], names=names, algorithm="x")
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    assert seg.get_segment_description(1).segment_label == names[1]
    volume = seg.get_volume(combine_segments=True)
    np.testing.assert_array_equal(volume.array[::-1].T, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns of values that are not allowed
        data = pydicom.dcmread(tmp_path / "seg.dcm")
        for element in data.iterall():
            if element.VR in TEXTS and element.value not in ("", None):
                several = element.value if element.VM > 1 else [element.value]
                for value in several:
                    validate_value(element.VR, str(value), config.RAISE)
    return data, labels


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 101", "Dvořák^Antonín"),
        ("ISO_IR 144", "Люкceмбypг^Роза"),  # noqa: RUF001
        ("ISO_IR 126", "Διονυσιος^Δ"),
        ("ISO_IR 127", "قباني^لنزار"),
        ("ISO_IR 138", "שרון^דבורה"),
        ("ISO_IR 148", "Çavuşoğlu^Ş"),
        ("ISO_IR 166", "นาย^ก"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 149"], KOREAN),
        ("ISO 2022 IR 149", "Hong^Gildong"),
        (["", "ISO 2022 IR 87"], JAPANESE),
        (["", "ISO 2022 IR 87"], SPRING),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
        ("ISO 2022 IR 87", "Yamada^Tarou"),
        (["", "ISO 2022 IR 100"], "Müller^Jörg"),
        ("ISO 2022 IR 100", "Mueller^Joerg"),
        ("ISO 2022 IR 6", "A^B"),
        ("ISO_IR 6", "A^B"),
        ("", "A^B"),
    ],
)
def test_names_in_all_character_sets(
    charset: str | list[str], name: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    change = setting(SpecificCharacterSet=charset, PatientName=name, StudyDescription="CT")
    data, _ = written(tmp_path, write_dicom, change)
    assert str(data.PatientName) == name
    assert data.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize(
    ("charset", "encoded", "name"),
    [
        ("latin-1", "Müller^J".encode("latin-1"), "Müller^J"),
        ("ISO_IR 100", "Müller^J".encode(), "Müller^J"),  # is UTF-8
        ("", "王^小东".encode(), "王^小东"),
        ("ISO_IR 100", "홍^길동".encode(), "홍^길동"),
        (["", "ISO 2022 IR 149"], "홍^길동".encode("euc_kr"), "홍^길동"),  # no escapes
        (["", "ISO 2022 IR 149"], "홍^길동".encode(), "홍^길동"),
        ("ISO 2022 IR 149", "홍^길동".encode("euc_kr"), "홍^길동"),
        (["", "ISO 2022 IR 87"], "山田^太郎".encode("cp932"), "山田^太郎"),
        ("ISO_IR 100", b"\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf", "홍^길동"),  # not declared
        ("UTF-8", "王^小东".encode(), "王^小东"),
        ("ISO-IR 192", "王^小东".encode(), "王^小东"),
        ("nonsense", b"A^B", "A^B"),
        ("windows-1251", "Иван^И".encode("cp1251"), "Иван^И"),
    ],
)
def test_character_sets_that_are_wrongly_declared(
    charset: str | list[str],
    encoded: bytes,
    name: str,
    tmp_path: Path,
    write_dicom: SeriesWriter,
) -> None:
    data, _ = written(tmp_path, write_dicom, raw(charset, encoded))
    assert str(data.PatientName) == name


@pytest.mark.parametrize("folder", ["korean_multi", "japanese_multi"])
def test_the_reported_series(folder: str, shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "reports" / "files" / folder
    series, _ = find_series(source)
    labels = (read_series(series[0]).array > 100).astype(np.uint8)
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=series[0], names={1: "liver"}, algorithm="x"
    )
    seg, scan = hd.seg.segread(tmp_path / "seg.dcm"), pydicom.dcmread(source / "000.dcm")
    assert str(seg.PatientName) == str(scan.PatientName)
    assert int(seg.get_volume(combine_segments=True).array.sum()) == int(labels.sum())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20200131", "20200131"),
        ("2020-01-31", "20200131"),
        ("2020.01.31", "20200131"),
        ("2020/1/31", "20200131"),
        ("2020-01-31T10:11:12", "20200131"),
        ("20200131101112", "20200131"),
        ("00000000", ""),
        ("20201301", ""),
        ("31.01.2020", ""),
        ("2020", ""),
        ("unknown", ""),
        ("", ""),
    ],
)
def test_dates(text: str, expected: str, tmp_path: Path, write_dicom: SeriesWriter) -> None:
    assert date(text) == expected
    if expected:
        DA(expected)
    change = setting(StudyDate=text, PatientBirthDate=text)
    data, _ = written(tmp_path, write_dicom, change)
    assert (data.StudyDate, data.PatientBirthDate) == (expected, expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("101112", "101112"),
        ("10:11:12", "101112"),
        ("10:11", "1011"),
        ("101112.25", "101112.25"),
        ("10:11:12.123456", "101112.123456"),
        ("250000", ""),
        ("10h11", ""),
        ("101160", ""),
        ("", ""),
    ],
)
def test_times(text: str, expected: str, tmp_path: Path, write_dicom: SeriesWriter) -> None:
    assert time(text) == expected
    if expected:
        TM(expected)
    data, _ = written(tmp_path, write_dicom, setting(StudyTime=text))
    assert data.StudyTime == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("045Y", "045Y"),
        ("45Y", "045Y"),
        ("45 years", "045Y"),
        ("6m", "006M"),
        ("45", ""),
        ("x", ""),
    ],
)
def test_ages(text: str, expected: str, tmp_path: Path, write_dicom: SeriesWriter) -> None:
    assert age(text) == expected
    data, _ = written(tmp_path, write_dicom, setting(PatientAge=text))
    assert data.get("PatientAge", "") == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("M", "M"), ("female", "F"), ("U", ""), ("W", ""), ("", "")]
)
def test_sexes(value: str, expected: str, tmp_path: Path, write_dicom: SeriesWriter) -> None:
    assert sex(value) == expected
    data, _ = written(tmp_path, write_dicom, setting(PatientSex=value))
    assert data.PatientSex == expected


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        ("PatientName", "anonymous", "anonymous"),
        ("PatientName", "A^B^C^D^E^F^G", "A^B^C^D^E"),
        ("PatientName", "N" * 70, "N" * 64),
        ("PatientName", "two\nlines", "two lines"),
        ("AccessionNumber", "1" * 20, ""),
        ("StudyID", "a long identifier of a study", ""),
        ("StudyDescription", "d" * 80, "d" * 64),
        ("PatientID", None, ""),
        ("SeriesNumber", None, None),
        ("SliceThickness", 0, None),
        ("PatientWeight", 71.5, 71.5),
        ("PatientWeight", -1, None),
        ("StudyInstanceUID", "no uid", None),
    ],
)
def test_other_values(
    tag: str, value: object, expected: object, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    data, _ = written(tmp_path, write_dicom, setting(**{tag: value}))
    if expected is not None:
        assert data[tag].value == expected
    assert UID(data.StudyInstanceUID).is_valid


def test_orientations_rounded_from_slice_to_slice(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    def change(data: Dataset, k: int) -> None:
        off = 4e-4 * (k % 2)
        data.ImageOrientationPatient = [f"{(1 - off**2) ** 0.5:.8f}", f"{off:.8f}", 0, 0, 1, 0]

    data, _ = written(tmp_path, write_dicom, change)
    assert data.NumberOfFrames == 6


def test_frames_of_reference_in_some_slices_only(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    def change(data: Dataset, k: int) -> None:
        if k % 2 == 0:
            del data.FrameOfReferenceUID

    files = write_dicom(tmp_path / "plain")
    data, _ = written(tmp_path, write_dicom, change)
    assert data.FrameOfReferenceUID == pydicom.dcmread(files[1]).FrameOfReferenceUID


def test_texts_lose_what_parts_values() -> None:
    assert text.clean("a\\b\x1b\x07c\0") == "a b  c"


def test_a_study_uid_that_is_nearly_valid_stays(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    """Or the segmentation would belong to another study."""
    write_dicom(tmp_path / "ct", change=setting(StudyInstanceUID="1.2.03.4"))
    series, _ = find_series(tmp_path / "ct")
    labels = np.zeros((7, 5, 6), np.uint8)
    write_dicom_seg(tmp_path / "s.dcm", labels, series=series[0], names={1: "a"}, algorithm="x")
    assert pydicom.dcmread(tmp_path / "s.dcm").StudyInstanceUID == "1.2.03.4"


def test_no_patient_is_named_in_the_log(
    tmp_path: Path,
    write_dicom: SeriesWriter,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG", logger="highdicom")
    written(tmp_path, write_dicom, setting(PatientName="secret"))
    out, err = capfd.readouterr()
    assert "secret" not in caplog.text + out + err
