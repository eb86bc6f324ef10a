"""What makes a case done: the same weights, settings and files, and the mask in its place."""

import os
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.errors import OutputError
from gridgate.pipeline.batch.case import Case
from gridgate.pipeline.batch.results.case_table import CaseTable

from .threshold import Threshold, evaluator, run, table, write_scan


class Counting(Threshold):
    """Counts the windows that it ran on."""

    windows = 0

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.windows += len(windows)
        return super().forward(windows)


def runs_again(items: list[dict[str, Any]], out: Path, **options: Any) -> bool:
    network = Counting()
    run(items, out, network=network, **options)
    return network.windows > 0


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    write_scan(tmp_path / "scans" / "a.nii.gz")
    return [{"id": "a", "image": str(tmp_path / "scans" / "a.nii.gz")}]


def test_each_setting_and_the_weights_count(items: list[dict[str, Any]], tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "inferer::mode": "gaussian",
        "amp": False,
        "postprocessing::fill_holes": None,
        "spacing": [1.0, 1.0, 2.0],
        "region": Path("/masks"),
    }
    out = tmp_path / "out"
    assert runs_again(items, out, settings=settings)
    assert not runs_again(items, out, settings=dict(reversed(settings.items())))
    for key in settings:
        assert runs_again(items, out, settings={**settings, key: "another"}), key
        assert runs_again(items, out, settings=settings), f"{key} back"
    assert runs_again(items, out, settings={**settings, "new": None})
    torch.save(Threshold().state_dict(), tmp_path / "weights.pt")
    assert runs_again(
        items, out, settings={**settings, "new": None}, checkpoint=str(tmp_path / "weights.pt")
    )


def test_a_mask_with_a_postfix_is_done(items: list[dict[str, Any]], tmp_path: Path) -> None:
    out, after = tmp_path / "out", {"postfix": "_seg"}
    assert runs_again(items, out, after=after)
    assert table(out)["a"]["output"] == "a_seg.nii.gz"
    assert not runs_again(items, out, after=after)
    (out / "a_seg.nii.gz").unlink()
    assert runs_again(items, out, after=after)


@pytest.mark.parametrize("change", ["touch", "grow", "gone", "one more", "renamed"])
def test_every_slice_of_a_series_counts(change: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.dcm" for number in range(5)]
    for path in files:
        path.write_bytes(b"slice")

    def stamp(names: list[Path]) -> str:
        series = DicomSeries("1.2", "CT", "", tmp_path, tuple(str(path) for path in names))
        return Case.of({"id": "a", "image": series}).stamp()

    before = stamp(files)
    assert stamp(files) == before
    last = files[-1]
    if change == "touch":
        os.utime(last, (5, 5))
    elif change == "grow":
        status = last.stat()
        last.write_bytes(b"another slice")
        os.utime(last, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "gone":
        last.unlink()
    elif change == "one more":
        files.append(tmp_path / "5.dcm")
        files[-1].write_bytes(b"slice")
    else:
        files[-1] = last.rename(tmp_path / "6.dcm")
    assert stamp(files) != before


@pytest.mark.parametrize(
    ("header", "text", "voxels"),
    [
        ("a.hdr", "", "a.img.gz"),
        ("a.hdr", "", "a.mat"),
        ("a.HEAD", "", "a.BRIK"),
        ("a.PAR", "", "a.REC"),
        ("a.mhd", "ElementDataFile = other.raw\n", "other.raw"),
        ("a.nhdr", "NRRD0004\ndata file: other.raw\n\n", "other.raw"),
        ("a.mhd", "ElementDataFile = LIST\none.raw\nother.raw\n", "other.raw"),
    ],
)
def test_the_voxels_beside_a_header_count(
    header: str, text: str, voxels: str, tmp_path: Path
) -> None:
    (tmp_path / header).write_text(text)
    for name in {"a.img.gz", voxels} if voxels == "a.mat" else {voxels}:
        (tmp_path / name).write_bytes(b"voxels")
    case = Case.of({"id": "a", "image": str(tmp_path / header)})
    before = case.stamp()
    assert case.stamp() == before
    os.utime(tmp_path / voxels, (5, 5))
    touched = case.stamp()
    assert touched != before
    (tmp_path / voxels).unlink()
    assert case.stamp() not in (before, touched)


def test_a_zip_counts_as_a_whole(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "dicom" / "three_slices_with_dicom_seg"
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.glob("0*.dcm")):
            archive.write(file, file.name)
    (series,), _ = find_series(path)
    case = Case.of({"id": "a", "image": series})
    assert case.files == [path]
    before = case.stamp()
    os.utime(path, (5, 5))
    assert case.stamp() != before


def test_the_case_s_region_counts(items: list[dict[str, Any]], tmp_path: Path) -> None:
    out, regions = tmp_path / "out", tmp_path / "regions"
    regions.mkdir()
    shutil.copy(items[0]["image"], regions / "a.nii.gz")
    network = Counting()

    def again() -> bool:
        before = network.windows
        evaluator(items, out, network=network, region=str(regions)).run()
        return network.windows > before

    assert again() and not again()
    os.utime(regions / "a.nii.gz", (5, 5))
    assert again()


def test_each_of_several_channels_counts(tmp_path: Path) -> None:
    files = [tmp_path / f"a_000{channel}.nii.gz" for channel in range(2)]
    for path in files:
        path.write_bytes(b"x")
    case = Case.of({"id": "a", "image": [str(path) for path in files]})
    before = case.stamp()
    os.utime(files[1], (5, 5))
    assert case.stamp() != before
    assert case.source == f"{files[0]};{files[1]}"


def test_a_series_that_was_only_moved_keeps_its_stamp(tmp_path: Path) -> None:
    def stamp(folder: Path) -> str:
        files = tuple(str(folder / "sub" / f"{number}.dcm") for number in range(3))
        series = DicomSeries("1.2", "CT", "", folder, files)
        return Case.of({"id": "a", "image": series}).stamp()

    (tmp_path / "before" / "sub").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "before" / "sub" / f"{number}.dcm").write_bytes(b"slice")
    before = stamp(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    assert stamp(tmp_path / "after") == before


def test_what_is_left_of_before_is_that_case_s_alone(tmp_path: Path) -> None:
    """A case may be called as another one's mask of a region would be."""
    names = ["p1", "regions/north/p1"]
    for seed, name in enumerate(names):
        write_scan(tmp_path / "scans" / f"{name}.nii.gz", seed=seed)
    items = [{"id": name, "image": str(tmp_path / "scans" / f"{name}.nii.gz")} for name in names]
    out = tmp_path / "out"
    run(items, out)
    time.sleep(0.02)
    write_scan(tmp_path / "scans" / "p1.nii.gz", seed=7)
    found = run(items, out)
    assert [found[name]["status"] for name in names] == ["ok", "ok"]
    assert all((out / f"{name}.nii.gz").is_file() for name in names)


def test_what_cannot_be_removed_ends_no_run(
    items: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(items, out)

    def refuse(*_: object) -> None:
        raise OutputError("a mask of before cannot be removed")

    monkeypatch.setattr(CaseTable, "remove_stale", refuse)
    found = run(items, out, settings={"other": 1})
    assert {row["status"] for row in found.values()} == {"ok"} and len(found) == len(items)
    assert all("cannot be removed" in row["notes"] for row in found.values())
