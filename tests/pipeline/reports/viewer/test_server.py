"""Who the viewer's server answers, what it gives, and when it ends."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.reports.scripts import SORTING, VIEWING
from gridgate.pipeline.reports.viewer import server
from gridgate.pipeline.reports.viewer.server import Viewer
from gridgate.pipeline.reports.viewer.shown import ShownCase, ShownMask

AFFINE = np.array([[-1.5, 0, 0, 40], [0, -2.0, 0, 30], [0, 0, 3.0, -20], [0, 0, 0, 1.0]])


@contextmanager
def served(viewer: Viewer) -> Iterator[Viewer]:
    ready = threading.Event()
    thread = threading.Thread(target=viewer.serve, args=(lambda url: ready.set(),), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield viewer
    finally:
        viewer.close()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def case(tmp_path: Path) -> ShownCase:
    scan = np.random.default_rng(0).normal(0, 300, (12, 10, 8)).round()
    labels = np.zeros(scan.shape, np.uint8)
    labels[2:5, 3:6, 1:4] = 1
    labels[7:9, 3:6, 1:4] = 4
    for name, array in (("ct", scan.astype(np.float32)), ("mask", labels)):
        nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / f"{name}.nii.gz")
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {"liver": 1, "left_kidney": 4}}))
    return ShownCase("one", str(tmp_path / "ct.nii.gz"), [ShownMask("m", tmp_path / "mask.nii.gz")])


def get(
    viewer: Viewer, path: str, *, host: str | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=20)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_each_file_comes_with_a_policy_that_lets_nothing_load_from_elsewhere(
    case: ShownCase,
) -> None:
    with served(Viewer([case])) as viewer:
        for name in ("", "view", "viewer.js", "viewer.css", "niivue.js", "case.json"):
            code, headers, content = get(viewer, f"/{viewer.token}/{name}")
            assert code == 200 and content
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'") and "http" not in policy
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"


def test_volumes_are_the_files_voxels_in_their_place(case: ShownCase) -> None:
    with served(Viewer([case])) as viewer:
        for number, path in enumerate([case.scan, case.masks[0].path]):
            code, _, content = get(viewer, f"/{viewer.token}/volume.nii?number={number}")
            assert code == 200
            got = nib.Nifti1Image.from_stream(io.BytesIO(content))
            want = nib.load(path)
            stored = np.asarray(want.dataobj)
            if number == 1:  # labels are numbered
                stored = np.searchsorted([0, 1, 4], stored)
            np.testing.assert_array_equal(np.asarray(got.dataobj), stored)
            np.testing.assert_allclose(got.affine, want.affine)
            assert np.asarray(got.dataobj).dtype.kind in "iu"
        for wrong in ("2", "-1", "x", "", "9" * 20, "9" * 5000):
            assert get(viewer, f"/{viewer.token}/volume.nii?number={wrong}")[0] in (404, 422)


def test_the_page_is_told_names_volumes_and_where_the_labels_are(case: ShownCase) -> None:
    with served(Viewer([case])) as viewer:
        told = json.loads(get(viewer, f"/{viewer.token}/case.json")[2])
    (mask,) = told["masks"]
    assert [(one["value"], one["name"]) for one in mask["labels"]] == [
        (1, "liver"),
        (4, "left kidney"),
    ]
    assert [one["ml"] for one in mask["labels"]] == [0.243, 0.162]  # 27 and 18 voxels of 9 mm^3
    index = np.array([(27 * 3 + 18 * 7.5) / 45, 4, 2])
    np.testing.assert_allclose(told["centre"], AFFINE[:3, :3] @ index + AFFINE[:3, 3])


def test_without_the_token_nothing_is_given(case: ShownCase) -> None:
    with served(Viewer([case])) as viewer:
        token = viewer.token
        for path in ("/", "/view", "/case.json", "//", f"/{token[:-1]}/view", f"/{token}x/view"):
            code, _, content = get(viewer, path)
            assert code == 403 and token.encode() not in content
        assert Viewer([case]).token != token


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:80", "127.0.0.1.evil.example", "192.168.0.1", "", "@"),
        *("evil.example@127.0.0.1", "[", "[::1", "localhost:port", "localhost:1:2"),
    ],
)
def test_another_host_header_is_refused(case: ShownCase, host: str) -> None:
    """A website whose name resolves to this machine has its own name there."""
    with served(Viewer([case])) as viewer:
        assert get(viewer, f"/{viewer.token}/view", host=host)[0] == 403
        for known in (f"localhost:{viewer.port}", "127.0.0.1:8080", "localhost"):
            assert get(viewer, f"/{viewer.token}/view", host=known)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "static/viewer.html",
        "niivue/LICENSES",
        "/etc/passwd",
        "server.py",
        "viewer.js/",
        "view?case=%2Fetc%2Fpasswd/..",
        "volume.nii?case=../../etc/passwd&number=0",
        "report.html",
    ],
)
def test_paths_outside_its_files_are_not_there(case: ShownCase, path: str) -> None:
    with served(Viewer([case])) as viewer:
        code, _, content = get(viewer, f"/{viewer.token}/{path}")
        assert b"root:" not in content and (code == 404 or path.startswith("view?"))


def test_other_methods_are_refused_and_only_this_machine_is_listened_to(case: ShownCase) -> None:
    with served(Viewer([case])) as viewer:
        for method in ("PUT", "DELETE", "OPTIONS", "HEAD"):
            assert get(viewer, f"/{viewer.token}/view", method=method)[0] == 501
        assert get(viewer, f"/{viewer.token}/view", method="POST")[0] == 404
        assert get(viewer, "/closed", method="POST")[0] == 403
        assert viewer._server.server_address[0] == "127.0.0.1"
        with socket.socket() as other, pytest.raises(OSError):
            other.settimeout(2)
            other.connect(("127.0.0.2", viewer.port))  # on every address it would answer here


def test_a_scan_that_is_gone_is_told_by_its_name(case: ShownCase) -> None:
    with served(Viewer([case])) as viewer:
        Path(case.scan).unlink()
        code, _, content = get(viewer, f"/{viewer.token}/case.json")
    assert code == 422 and b"ct.nii.gz" in content


def test_it_ends_when_the_last_page_is_closed(case: ShownCase) -> None:
    viewer = Viewer([case], closes_after=0.5)
    thread = threading.Thread(target=viewer.serve, daemon=True)
    thread.start()
    for page in ("a", "b"):
        assert get(viewer, f"/{viewer.token}/alive?page={page}")[0] == 204
    for page in ("a", "b"):
        time.sleep(1.5)
        assert thread.is_alive()
        assert get(viewer, f"/{viewer.token}/closed?page={page}", method="POST")[0] == 204
    thread.join(20)
    assert not thread.is_alive()


def test_a_page_that_says_nothing_any_more_is_gone(
    case: ShownCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GONE_AFTER", 1.0)
    viewer = Viewer([case], closes_after=0.2)
    thread = threading.Thread(target=viewer.serve, daemon=True)
    thread.start()
    assert get(viewer, f"/{viewer.token}/alive?page=a")[0] == 204  # and then its browser crashed
    thread.join(20)
    assert not thread.is_alive()


def test_files_that_change_are_read_again(case: ShownCase) -> None:
    with served(Viewer([case])) as viewer:

        def millilitres() -> list[float]:
            told = json.loads(get(viewer, f"/{viewer.token}/case.json")[2])
            return [one["ml"] for one in told["masks"][0]["labels"]]

        assert millilitres() == [0.243, 0.162]
        path = case.masks[0].path
        array = np.asarray(nib.load(path).dataobj).copy()
        array[array == 4] = 0
        nib.save(nib.Nifti1Image(array, AFFINE), path)
        assert millilitres() == [0.243]


def test_it_ends_when_no_page_is_ever_opened(case: ShownCase) -> None:
    viewer = Viewer([case], waits_for=0.3)
    began = time.monotonic()
    viewer.serve()
    assert time.monotonic() - began < 10


def test_a_port_that_is_taken_is_told(case: ShownCase) -> None:
    with served(Viewer([case])) as viewer, pytest.raises(ConfigError, match=str(viewer.port)):
        Viewer([case], port=viewer.port)
    for port in (-1, 70000):
        with pytest.raises(ConfigError, match=str(port)):
            Viewer([case], port=port)
    with pytest.raises(ConfigError, match="no case"):
        Viewer([])


def test_the_first_page_of_a_run_is_its_report(case: ShownCase, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<h1>of the run</h1>")
    other: Any = ShownCase("a b/c", case.scan, case.masks)
    with served(Viewer([case, other], report=report)) as viewer:
        code, headers, content = get(viewer, f"/{viewer.token}/")
        assert (code, content) == (200, b"<h1>of the run</h1>")
        policy = dict(
            part.split(maxsplit=1) for part in headers["Content-Security-Policy"].split("; ")
        )
        assert policy["connect-src"] == "'self'"
        known = [
            base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()
            for one in (VIEWING, SORTING)
        ]
        assert policy["script-src"].split() == [f"'sha256-{one}'" for one in known]
        told = json.loads(get(viewer, f"/{viewer.token}/case.json?case=a%20b%2Fc")[2])
        assert told["case"] == "a b/c" and told["cases"] == ["one", "a b/c"]
        assert get(viewer, f"/{viewer.token}/case.json?case=none")[0] == 404
