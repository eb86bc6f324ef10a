"""A task of the Decathlon as an archive, and a server on this machine that gives it."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np

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
