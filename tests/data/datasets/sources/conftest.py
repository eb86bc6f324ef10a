"""The server of archives that several test files use."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .archives import Server, tar_of


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server(tar_of(tmp_path / "served.tar").read_bytes())
    thread = threading.Thread(target=partial(made.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
