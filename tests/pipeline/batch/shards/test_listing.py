"""Shards look for the scans once; and again when that would find others."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.dicom.series import DicomSeries
from gridgate.data.errors import ConfigError
from gridgate.data.files import write_atomically
from gridgate.data.inputs.find import Inputs
from gridgate.data.output_folder import OutputFolder
from gridgate.data.shared_folder import SharedFolder
from gridgate.data.walk import PassedOver
from gridgate.pipeline.batch.selection import folder_inputs
from gridgate.pipeline.batch.shards import listing
from gridgate.pipeline.batch.shards.listing import shared_listing
from gridgate.pipeline.batch.shards.locks import lock_of, tried

FOUND = Inputs(
    [
        {"id": "a", "image": "/scans/a.nii.gz"},
        {"id": "b", "image": ["/scans/b_0000.nii.gz", "/scans/b_0001.nii.gz"]},
        {
            "id": "c",
            "image": DicomSeries(
                "1.2", "CT", "thorax", Path("/scans/c"), ("1.dcm", "\udce4.dcm"), notes=("odd",)
            ),
        },
        {
            "id": "d",
            "image": DicomSeries("1.3", "CT", "", Path("/d.zip"), ("x",), archive=Path("/d.zip")),
        },
    ],
    [PassedOver("/scans/localizer", "a localizer")],
)


def never() -> Inputs:
    raise AssertionError("it is known")


def test_what_one_shard_finds_the_next_one_has(tmp_path: Path) -> None:
    assert shared_listing(tmp_path, ["CTS"], lambda: FOUND) == FOUND
    found = shared_listing(tmp_path, ["CTS"], never)
    assert found == FOUND and found is not FOUND
    other = Inputs([{"id": "z", "image": "/z.nii"}], [])
    assert shared_listing(tmp_path, ["CTS", "flat"], lambda: other) == other, "of something else"


def test_a_list_of_before_counts_while_shards_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_listing(tmp_path, ["CTS"], lambda: FOUND)
    time.sleep(0.01)
    monkeypatch.setattr(listing, "_BEGAN", time.time())  # as of a process that begins now
    lock = tried(lock_of(SharedFolder(tmp_path).records, 1, 2))
    assert lock is not None
    assert shared_listing(tmp_path, ["CTS"], never) == FOUND
    lock.release()
    grown = Inputs([*FOUND.cases, {"id": "e", "image": "/e.nii"}], [])
    assert shared_listing(tmp_path, ["CTS"], lambda: grown) == grown


def test_who_tidies_up_leaves_a_list_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SharedFolder(tmp_path)
    begun, tidied = threading.Event(), threading.Event()

    def tidies_up() -> None:  # as a shard that comes or goes, when no other one has begun
        begun.wait()
        with folder.gate():
            folder.tidy_up()
        tidied.set()

    def writes(path: Path, write: Any) -> None:
        def slowly(stream: Any) -> None:
            write(stream)
            begun.set()
            tidied.wait(1)

        write_atomically(path, slowly)

    monkeypatch.setattr(listing, "write_atomically", writes)
    other = threading.Thread(target=tidies_up)
    other.start()
    assert shared_listing(tmp_path, ["CTS"], lambda: FOUND) == FOUND
    other.join()
    assert tidied.is_set() and shared_listing(tmp_path, ["CTS"], never) == FOUND


def test_a_list_is_not_written_where_a_run_of_no_shard_is(tmp_path: Path) -> None:
    with OutputFolder(tmp_path), pytest.raises(ConfigError, match="which is no shard"):
        shared_listing(tmp_path, ["CTS"], lambda: FOUND)


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"of": "', b"\xff"])
def test_a_list_that_cannot_be_read_is_made_anew(content: bytes, tmp_path: Path) -> None:
    shared_listing(tmp_path, ["CTS"], lambda: FOUND)
    (SharedFolder(tmp_path).records / "listing.jsonl").write_bytes(content)
    assert shared_listing(tmp_path, ["CTS"], lambda: FOUND) == FOUND


def test_inputs_of_a_shard_are_those_of_a_run(
    items: list[dict[str, Any]], tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scans" / "picture.png").touch()
    whole = folder_inputs(tmp_path / "scans", output_dir=tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    assert folder_inputs(tmp_path / "scans", output_dir=out, shard="1/2") == whole
    monkeypatch.setattr("gridgate.pipeline.batch.selection.find_cases", never)
    assert folder_inputs(tmp_path / "scans", output_dir=out, shard="2/2") == whole
    assert len(whole.cases) == len(items) and len(whole.passed_over) == 1
