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
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from ....data.errors import ConfigError, GridgateError
from .shown import ShownCase

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
LOCAL = ("127.0.0.1", "localhost")
_FILES = {
    "viewer.css": ("text/css", STATIC / "viewer.css"),
    "viewer.js": ("text/javascript", STATIC / "viewer.js"),
    "niivue.js": ("text/javascript", STATIC / "niivue" / "niivue.umd.js"),
}
_VIEWER_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; font-src data:; "
    "worker-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_PULSE = 2.0  # seconds between two signs of life
CLOSES_AFTER = 4.0
"""Seconds without an open page after which the server ends; a page that is loaded again is back."""
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
        self._lock = threading.Lock()
        self._open = 0
        self._changed = time.monotonic()
        self._ever_open = False
        self._ends = threading.Event()
        try:
            self._server = _Server((LOCAL[0], port), self)
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be taken ({error.strerror}); leave --port out, or give another"
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
        if self._server.serving:
            self._server.shutdown()
        self._server.server_close()

    def _is_over(self) -> bool:
        with self._lock:
            limit = self.closes_after if self._ever_open else self.waits_for
            return not self._open and time.monotonic() - self._changed > limit

    def opened(self, by: int) -> None:
        """A page was opened (1) or closed (-1)."""
        with self._lock:
            self._open += by
            self._ever_open = True
            self._changed = time.monotonic()

    @property
    def ends(self) -> bool:
        """Whether it is ending."""
        return self._ends.is_set()

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
        if path == "case.json":
            told = {**self._held(case).told(), "cases": list(self._cases)}
            return Answer("application/json", json.dumps(told).encode())
        number = query.get("number", [""])[0]
        if path == "volume.nii" and number.isdecimal():
            return Answer("application/octet-stream", self._held(case).volume(int(number)))
        return None

    def _held(self, case: ShownCase) -> ShownCase:
        """The case, its voxels read; those of another one are forgotten."""
        with self._lock:
            if self._latest is None or self._latest.name != case.name:
                masks = [type(mask)(mask.name, mask.path, mask.names) for mask in case.masks]
                self._latest = ShownCase(case.name, case.scan, masks)
            return self._latest


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    serving = False

    def __init__(self, address: tuple[str, int], viewer: Viewer) -> None:
        self.viewer = viewer
        super().__init__(address, _Handler)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        self.serving = True
        super().serve_forever(poll_interval)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Gridgate", ""
    timeout = 60
    _text: ClassVar = "text/plain"

    def do_GET(self) -> None:
        """Answer, or refuse."""
        found = urlsplit(self.path)
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in LOCAL:
            self._send(403, self._text, b"this address is not served")
            return
        _, token, *rest = [*found.path.split("/"), "", ""][:4]
        known = self.server.viewer.token.encode()
        if not hmac.compare_digest(token.encode(errors="replace"), known):
            self._send(403, self._text, b"no token; open the address that `gridgate view` printed")
            return
        name = rest[0]
        if found.path.count("/") != 2:
            self._send(404, self._text, b"nothing is here")
        elif name == "alive":
            self._stay_open()
        else:
            self._answer(name, parse_qs(found.query, keep_blank_values=True))

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

    def _stay_open(self) -> None:
        """A stream that lasts as long as the page: events, with nothing in them."""
        viewer = self.server.viewer
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self._protect("default-src 'none'")
        self.end_headers()
        self.close_connection = True
        viewer.opened(1)
        try:
            while not viewer.ends:
                self.wfile.write(b":\n\n")
                self.wfile.flush()
                time.sleep(_PULSE)
        except OSError:  # the page is closed
            pass
        finally:
            viewer.opened(-1)

    def log_message(self, format: str, *values: object) -> None:
        """The terminal stays quiet."""
        logger.debug(format, *values)
