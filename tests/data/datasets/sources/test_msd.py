"""The Decathlon's archives: downloaded by ranges, verified, and unpacked without trusting them."""

import hashlib
import importlib.util
import io
import json
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.download import download
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources import msd, msd_tasks
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.data.images.reading import read_image
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.cli.main import main

TASK = "Task09_Spleen"


def nifti_bytes(seed: int, *, label: bool = False) -> bytes:
    random = np.random.default_rng(seed)
    array = random.integers(0, 2, (6, 5, 4)) if label else random.integers(-900, 900, (6, 5, 4))
    kind = np.uint8 if label else np.int16
    return nib.Nifti1Image(array.astype(kind), np.diag([-1, -1, 3, 1.0])).to_bytes()


def contents() -> dict[str, bytes]:
    """As the published archive has them, macOS's files included."""
    files = {f"imagesTr/spleen_{number}.nii": nifti_bytes(number) for number in (2, 10)}
    files |= {
        f"labelsTr/spleen_{number}.nii": nifti_bytes(number, label=True) for number in (2, 10)
    }
    files |= {"imagesTs/spleen_1.nii": nifti_bytes(1), "imagesTr/._spleen_2.nii": b"mac"}
    head = {
        "name": "Spleen",
        "description": "Spleen Segmentation",
        "licence": "CC-BY-SA 4.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "spleen"},
        "numTraining": 2,
        "numTest": 1,
        "training": [
            {"image": f"./imagesTr/spleen_{one}.nii", "label": f"./labelsTr/spleen_{one}.nii"}
            for one in (10, 2)
        ],
        "test": ["./imagesTs/spleen_1.nii"],
    }
    return files | {"dataset.json": json.dumps(head).encode()}


def tar_of(
    path: Path,
    files: dict[str, bytes] | None = None,
    odd: Callable[[tarfile.TarFile], None] | None = None,
    mode: str = "w",
) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in (contents() if files is None else files).items():
            member = tarfile.TarInfo(f"{TASK}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        if odd is not None:
            odd(archive)
    return path


def special(name: str, kind: bytes, target: str = "") -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member)

    return add


class Server(ThreadingHTTPServer):
    """Serves one file; can break off, ignore ranges, or answer with an error."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.ranges: list[str | None] = []
        self.break_after: list[int] = []
        self.knows_ranges = True
        self.status = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if server.status:
            self.send_error(server.status)
            return
        begin = int(asked[6:-1]) if asked and server.knows_ranges else 0
        if begin >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        part = server.content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{len(server.content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if server.break_after:
            part = part[: server.break_after.pop(0)]
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server(tar_of(tmp_path / "served.tar").read_bytes())
    thread = threading.Thread(target=partial(made.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def run_import(server: Server, folder: Path, *more: str) -> int:
    words = ["import", f"msd:{TASK}", str(folder), "--base_address", server.address]
    return main([*words, "--checksum", md5(server.content), *more])


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".gridgate" not in path.parts
    }


def test_a_task_comes_from_its_address_to_a_dataset(server: Server, tmp_path: Path) -> None:
    assert run_import(server, tmp_path / "D") == 0
    dataset = load_dataset(tmp_path / "D")
    assert [case.id for case in dataset.cases] == ["spleen_10", "spleen_2"]
    assert [case.id for case in dataset.test_cases] == ["spleen_1"]
    assert dataset.labels == {"background": 0, "spleen": 1}
    assert dataset.channel_names == ("CT",)
    assert (tmp_path / "D/imagesTr/spleen_2.nii").read_bytes() == nifti_bytes(2)
    record = json.loads((tmp_path / "D/import.json").read_text())
    assert record["checksum"] == f"md5:{md5(server.content)}"
    assert record["licence"] == "CC-BY-SA 4.0"
    assert record["origin"] == f"{server.address}/{TASK}.tar"
    assert not list((tmp_path / "D").rglob("*.tar*"))
    assert not list((tmp_path / "D").rglob("._*"))


def test_a_second_import_asks_for_nothing(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_import(server, tmp_path / "D")
    before, asked = files_of(tmp_path / "D"), len(server.ranges)
    assert run_import(server, tmp_path / "D") == 0
    assert files_of(tmp_path / "D") == before
    assert len(server.ranges) == asked
    assert "nothing to do" in capsys.readouterr().out


def test_nothing_is_downloaded_into_another_dataset(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(msd.tar_source(tar_of(tmp_path / "other.tar")), tmp_path / "D")
    before = files_of(tmp_path / "D")
    assert run_import(server, tmp_path / "D") == 1
    assert "holds the import of" in capsys.readouterr().err
    assert server.ranges == []
    assert files_of(tmp_path / "D") == before


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


ODD = {
    "path traversal": (special("../../outside.txt", tarfile.REGTYPE), "leads out"),
    "absolute path": (special("/tmp/outside.txt", tarfile.REGTYPE), "leads out"),
    "windows path": (special("C:\\outside.txt", tarfile.REGTYPE), "leads out"),
    "backslashes": (special("a\\..\\..\\outside", tarfile.REGTYPE), "leads out"),
    "link": (special(f"{TASK}/imagesTr/x.nii", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
    "hard link": (special(f"{TASK}/imagesTr/x.nii", tarfile.LNKTYPE, "dataset.json"), "hard link"),
    "device": (special(f"{TASK}/imagesTr/x.nii", tarfile.CHRTYPE), "a device"),
    "pipe": (special(f"{TASK}/imagesTr/x.nii", tarfile.FIFOTYPE), "a named pipe"),
    "twice": (special(f"{TASK}/dataset.json", tarfile.REGTYPE), "twice"),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_an_unsafe_archive_is_refused_before_anything_is_unpacked(
    tmp_path: Path, kind: str
) -> None:
    odd, says = ODD[kind]
    path = tar_of(tmp_path / f"{TASK}.tar", odd=odd)
    with pytest.raises(DatasetError, match=f"{says}.*nothing was unpacked"):
        write_dataset(msd.tar_source(path), tmp_path / "D")
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]


def test_an_archive_cut_off_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"x\.tar: .*(cut off|dataset\.json)"):
        write_dataset(msd.tar_source(path), tmp_path / "D")
    assert not (tmp_path / "D").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_an_archive_that_is_cut_off_while_it_is_unpacked(tmp_path: Path, mode: str) -> None:
    path = tar_of(tmp_path / ("x.tar" if mode == "w" else "x.tar.gz"), mode=mode)
    source = msd.tar_source(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    with pytest.raises(DatasetError, match=r"get it again"):
        write_dataset(source, tmp_path / "D")
    assert not (tmp_path / "D/dataset.json").exists()
    assert not list((tmp_path / "D").rglob("*gridgate-part"))
    path.write_bytes(content)
    write_dataset(source, tmp_path / "D")
    assert np.array_equal(
        read_image(tmp_path / "D/imagesTr/spleen_10.nii").array,
        nib.Nifti1Image.from_bytes(nifti_bytes(10)).get_fdata(),
    )


def test_rubbish_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"\x00\x01rubbish" * 500)
    with pytest.raises(DatasetError, match="no tar"):
        msd.tar_source(tmp_path / "x.tar")


@pytest.mark.parametrize("lost", ["imagesTr/spleen_2.nii", "labelsTr/spleen_2.nii"])
def test_a_missing_pair_is_named(tmp_path: Path, lost: str) -> None:
    files = {name: data for name, data in contents().items() if name != lost}
    with pytest.raises(DatasetError, match=f"lists ./{lost}, which is not in the archive"):
        msd.tar_source(tar_of(tmp_path / "x.tar", files))


def test_ones_own_tar_is_imported_and_told_from_the_published_one(tmp_path: Path) -> None:
    path = tar_of(tmp_path / f"{TASK}.tar")
    before = path.read_bytes()
    source = msd.tar_source(path)
    assert any("not the published archive" in note for note in source.notes)
    assert any("1 files of macOS" in note for note in source.notes)
    write_dataset(source, tmp_path / "D")
    done = write_dataset(msd.tar_source(path), tmp_path / "D")
    assert (done.cases, done.tests, done.changed) == (2, 1, False)
    assert path.read_bytes() == before


def test_the_tasks_by_name() -> None:
    assert [
        msd_tasks.task_named(word).name for word in ("9", "spleen", "task09_spleen", "Task09")
    ] == ([TASK] * 4)
    assert len(msd_tasks.TASKS) == 10
    with pytest.raises(ConfigError, match=r"Task01_BrainTumour .*FLAIR, T1w, t1gd, T2w"):
        msd_tasks.task_named("Task11_Toe")


def test_the_checksums_are_monais() -> None:
    spec = importlib.util.find_spec("monai")  # its text: importing monai.apps takes seconds
    assert spec is not None
    assert spec.submodule_search_locations is not None
    text = (Path(spec.submodule_search_locations[0]) / "apps/datasets.py").read_text()
    said = text.partition("class DecathlonDataset")[2]
    for task in msd_tasks.TASKS:
        assert f'"{task.name}": "{msd_tasks.BASE_ADDRESS}/{task.name}.tar"' in said
        assert f'"{task.name}": "{task.md5}"' in said
