"""Serves the viewer to a browser on this machine, and to nobody else.

It listens on 127.0.0.1 only. Each address begins with a token that is new in each run; a request
without it, with another Host header (so that no website that resolves to this machine reads along),
or for anything but the few files named here, is refused. Pages may load from here only (their
Content-Security-Policy). When the last page is closed the server ends.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs

from ....data.errors import ConfigError, GridgateError
from ..scripts import TEMPLATES, allowed
from .shown import ShownCase

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
LOCAL = ("127.0.0.1", "localhost")
_HOST = re.compile(rf"({'|'.join(map(re.escape, LOCAL))})(:\d{{1,5}})?")
_DIGITS = 6  # of a volume's number, at most
_FILES = {
    "viewer.css": ("text/css", STATIC / "viewer.css"),
    "alive.js": ("text/javascript", TEMPLATES / "alive.js"),
    "viewer.js": ("text/javascript", STATIC / "viewer.js"),
    "niivue.js": ("text/javascript", STATIC / "niivue" / "niivue.umd.js"),
}
_VIEWER_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; font-src data:; "
    "worker-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_REPORT_POLICY = (
    f"default-src 'none'; script-src {allowed()}; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
CLOSES_AFTER = 4.0
"""Seconds without an open page after which the server ends; a page that is loaded again is back."""
GONE_AFTER = 150.0
"""Seconds without a sign of life after which a page counts as closed: a browser lets pages in the
background say so once in a minute only."""
WAITS_FOR = 600.0
"""Seconds in which a first page must be opened."""


@dataclass(frozen=True)
class Answer:
    """What a browser gets."""

    kind: str
    content: bytes
    policy: str = "default-src 'none'"


class Viewer:
    """Cases, a page of a run where there is one, and the server that shows them.

    Args:
        cases: at least one.
        report: a run's report.html, the first page then; its buttons lead to the cases.
        port: 0 is one that is free.
        closes_after, waits_for: seconds, see CLOSES_AFTER and WAITS_FOR.

    Raises:
        ConfigError: no cases, or the port is taken.

    Example:
        >>> from pathlib import Path
        >>> viewer = Viewer([ShownCase("ct", "ct.nii.gz")])
        >>> viewer.url.startswith("http://127.0.0.1:")
        True
        >>> viewer.close()
    """

    def __init__(
        self,
        cases: Sequence[ShownCase],
        *,
        report: Path | None = None,
        port: int = 0,
        closes_after: float = CLOSES_AFTER,
        waits_for: float = WAITS_FOR,
    ) -> None:
        if not cases:
            raise ConfigError("there is no case to show")
        self.token = secrets.token_urlsafe(18)
        self.closes_after, self.waits_for = closes_after, waits_for
        self._cases = {case.name: case for case in cases}
        self._first = cases[0].name
        self._latest: ShownCase | None = None  # its voxels are held
        self._report = report
        self._stamp: tuple[object, ...] = ()
        self._reading = threading.Lock()
        self._pages = threading.Lock()
        self._seen: dict[str, float] = {}  # page -> when it last said that it is open
        self._changed = time.monotonic()
        self._ever_open = False
        self._ends = threading.Event()
        try:
            self._server = _Server((LOCAL[0], port), self)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"port {port} cannot be taken ({why}); leave --port out, or give another"
            ) from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address of its first page."""
        return f"http://{LOCAL[0]}:{self.port}/{self.token}/"

    def serve(self, ready: Callable[[str], object] = lambda url: None) -> None:
        """Serve until the last page is closed, none was opened in time, or `close` is called.

        Args:
            ready: told of the address once it answers.
        """
        thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        self._server.begun.wait()
        self._changed = time.monotonic()
        try:
            ready(self.url)
            while not self._ends.wait(0.2) and not self._is_over():
                pass
        finally:
            self.close()
            thread.join(timeout=5)

    def close(self) -> None:
        """Stop serving."""
        self._ends.set()
        if self._server.begun.is_set():
            self._server.shutdown()
        self._server.server_close()

    def _is_over(self) -> bool:
        now = time.monotonic()
        with self._pages:
            if any(now - seen < GONE_AFTER for seen in self._seen.values()):
                return False
            limit = self.closes_after if self._ever_open else self.waits_for
            return now - self._changed > limit

    def opened(self, page: str) -> None:
        """A page says that it is open."""
        with self._pages:
            self._ever_open = True
            self._seen[page] = self._changed = time.monotonic()

    def closed(self, page: str) -> None:
        """A page says that it is closed."""
        with self._pages:
            self._seen.pop(page, None)
            self._changed = time.monotonic()

    def answer(self, path: str, query: Mapping[str, Sequence[str]]) -> Answer | None:
        """What is at an address behind the token; None where nothing is.

        Raises:
            GridgateError: a scan or a mask cannot be read.
        """
        if path == "":
            path = "report.html" if self._report is not None else "view"
        if path == "report.html" and self._report is not None:
            return Answer("text/html", self._report.read_bytes(), _REPORT_POLICY)
        if path == "view":
            return Answer("text/html", (STATIC / "viewer.html").read_bytes(), _VIEWER_POLICY)
        if path in _FILES:
            kind, file = _FILES[path]
            return Answer(kind, file.read_bytes())
        case = self._cases.get(query.get("case", [self._first])[0])
        if case is None:
            return None
        number = query.get("number", [""])[0]
        with self._reading:  # one case after another, or a scan would be read twice at once
            if path == "case.json":
                told = {**self._held(case).told(), "cases": list(self._cases)}
                return Answer("application/json", json.dumps(told).encode())
            if path == "volume.nii" and number.isdecimal() and len(number) < _DIGITS:
                return Answer("application/octet-stream", self._held(case).volume(int(number)))
        return None

    def _held(self, case: ShownCase) -> ShownCase:
        """The case, its voxels read; those of another one, or of older files, are forgotten."""
        files: list[str | Path] = [case.scan, *(mask.path for mask in case.masks)]
        stamp = (case.name, *(_stamp(path) for path in files))
        if self._latest is None or self._stamp != stamp:
            masks = [replace(mask) for mask in case.masks]
            self._latest, self._stamp = replace(case, masks=masks), stamp
        return self._latest


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], viewer: Viewer) -> None:
        self.viewer = viewer
        self.begun = threading.Event()
        super().__init__(address, _Handler)

    def service_actions(self) -> None:
        """Called in the loop: it runs."""
        self.begun.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """A page that was closed meanwhile is no fault."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Gridgate", ""
    timeout = 60
    _text: ClassVar = "text/plain"

    def do_GET(self) -> None:
        """Answer, or refuse."""
        found = self._asked()
        if found is None:
            return
        name, query = found
        if name == "alive":
            self.server.viewer.opened(query.get("page", [""])[0])
            self._send(204, self._text, b"")
        else:
            self._answer(name, query)

    def do_POST(self) -> None:
        """A page that is closed says so; nothing else is taken."""
        found = self._asked()
        if found is None:
            return
        if found[0] == "closed":
            self.server.viewer.closed(found[1].get("page", [""])[0])
            self._send(204, self._text, b"")
        else:
            self._send(404, self._text, b"nothing is here")

    def _asked(self) -> tuple[str, Mapping[str, Sequence[str]]] | None:
        """Name and query behind the token; None where the request was refused."""
        self.close_connection = self.command != "GET"  # its content is not read
        if not _HOST.fullmatch(self.headers.get("Host", "")):
            self._send(403, self._text, b"this address is not served")
            return None
        path, _, query = self.path.partition("?")
        parts = path.split("/")
        known = self.server.viewer.token.encode()
        token = parts[1] if len(parts) > 1 else ""
        if not hmac.compare_digest(token.encode(errors="replace"), known):
            self._send(403, self._text, b"no token; open the address that `gridgate view` printed")
            return None
        if len(parts) != len(("", "token", "name")):
            self._send(404, self._text, b"nothing is here")
            return None
        return parts[2], parse_qs(query, keep_blank_values=True)

    def _answer(self, name: str, query: Mapping[str, Sequence[str]]) -> None:
        try:
            answer = self.server.viewer.answer(name, query)
        except GridgateError as error:
            self._send(422, self._text, str(error).encode(errors="replace"))
            return
        except Exception:
            logger.exception("the viewer failed at %s", name)
            self._send(500, self._text, b"a fault of the viewer; its terminal says more")
            return
        if answer is None:
            self._send(404, self._text, b"nothing is here")
        else:
            self._send(200, answer.kind, answer.content, answer.policy)

    def _send(self, code: int, kind: str, content: bytes, policy: str = "") -> None:
        self.send_response(code)
        text = kind.startswith(("text/", "application/json"))
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
        self.send_header("Content-Length", str(len(content)))
        self._protect(policy or "default-src 'none'")
        self.end_headers()
        self.wfile.write(content)

    def _protect(self, policy: str) -> None:
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")  # the address holds the token
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store")

    def log_message(self, format: str, *values: object) -> None:
        """The terminal stays quiet."""
        logger.debug(format, *values)


def _stamp(path: str | Path) -> object:
    """What changes when a file does; of a text that is no path nothing does."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns
