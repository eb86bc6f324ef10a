"""Downloads: resumed, checked, and nothing left of those that fail."""

import socket
import ssl
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.importing import download as downloading
from gridgate.data.datasets.importing.download import download
from gridgate.data.errors import DatasetError, OutputError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.cli.main import main

from .archives import TASK, Server, files_of, md5


def test_an_interrupted_download_is_resumed_by_ranges(server: Server, tmp_path: Path) -> None:
    server.break_after = [1000, 2000]
    with OutputFolder(tmp_path) as output:
        path = download(
            f"{server.address}/a.tar", output, "a.tar", md5=md5(server.content), wait=0.01
        )
    assert path.read_bytes() == server.content
    assert server.ranges == [None, "bytes=1000-", "bytes=3000-"]


def test_a_later_run_goes_on_where_the_last_one_broke_off(server: Server, tmp_path: Path) -> None:
    get = partial(download, f"{server.address}/a.tar", relative="a.tar", wait=0.001)
    server.break_after = [100] * 5
    with OutputFolder(tmp_path) as output, pytest.raises(DatasetError, match="start the same"):
        get(output=output, md5=md5(server.content))
    assert (tmp_path / "a.tar.partial").stat().st_size == 500
    with OutputFolder(tmp_path) as output:
        path = get(output=output, md5=md5(server.content))
    assert path.read_bytes() == server.content
    assert server.ranges[-1] == "bytes=500-"


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, tmp_path: Path) -> None:
    server.knows_ranges, server.break_after = False, [700]
    with OutputFolder(tmp_path) as output:
        path = download(f"{server.address}/a", output, "a", md5=md5(server.content), wait=0.01)
    assert path.read_bytes() == server.content


def test_a_download_that_was_complete_before_it_was_checked(server: Server, tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:
        (tmp_path / "a.partial").write_bytes(server.content)
        output.record("a.partial", any_content=True)
        path = download(f"{server.address}/a", output, "a", md5=md5(server.content))
    assert path.read_bytes() == server.content


def test_a_wrong_checksum_leaves_nothing(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["import", f"msd:{TASK}", str(tmp_path / "D"), "--base_address", server.address]
    assert main(words) == 1  # the published checksum is not that of this archive
    said = capsys.readouterr().err
    assert md5(server.content) in said
    assert "410d4a301da4e5b2f6f86ec3ddba524e" in said
    assert files_of(tmp_path / "D") == {}


def test_an_address_that_answers_with_an_error(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with OutputFolder(tmp_path) as output, pytest.raises(DatasetError, match="HTTP 404"):
        download(f"{server.address}/a", output, "a", md5=None)
    assert len(server.ranges) == 1  # it is not asked again


def test_a_server_that_is_not_there_is_asked_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    with OutputFolder(tmp_path / "D") as output, pytest.raises(DatasetError, match="cannot be got"):
        download(f"{address}/a", output, "sub/a", md5=None, wait=60)
    assert time.monotonic() - began < 30
    assert list((tmp_path / "D").iterdir()) == []


def test_other_addresses_than_the_webs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    with OutputFolder(tmp_path) as output, pytest.raises(DatasetError, match="http"):
        download((tmp_path / "secret").as_uri(), output, "a", md5=None)


class Broken:
    """A response whose connection ends in an error of TLS, or of a route that is gone."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def read(self, count: int) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    "error", [ssl.SSLError(1, "bad record mac"), OSError(113, "No route to host")]
)
def test_whatever_ends_a_connection_is_tried_again(
    error: OSError, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, left = downloading._received, [Broken(error)]

    def once(response: Any) -> bytes:
        return received(left.pop() if left else response)

    monkeypatch.setattr(downloading, "_received", once)
    with OutputFolder(tmp_path) as output:
        path = download(f"{server.address}/a", output, "a", md5=md5(server.content), wait=0.01)
    assert path.read_bytes() == server.content and not left


def test_a_full_disk_is_no_broken_connection(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(downloading, "_append", full)
    with OutputFolder(tmp_path) as output, pytest.raises(OutputError, match="No space left"):
        download(f"{server.address}/a", output, "a", md5=None, wait=0.01)
