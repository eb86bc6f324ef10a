"""An output folder: its lock, its manifest, and what of it may be replaced or removed."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from gridgate.data.errors import ConfigError, OutputError
from gridgate.data.files import is_temporary, path_inside, temporary_name, write_atomically
from gridgate.data.output_folder import OutputFolder


def put(output: OutputFolder, name: str, content: bytes = b"a mask") -> Path:
    return output.write(name, lambda stream: stream.write(content))


def test_what_gridgate_wrote_may_be_replaced_and_removed(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as output:
        put(output, "a/b.nii.gz")
    with OutputFolder(tmp_path / "out") as output:
        assert output.owns("a/b.nii.gz")
        put(output, "a/b.nii.gz", b"a newer mask")
    with OutputFolder(tmp_path / "out") as output:
        assert output.path("a/b.nii.gz").read_bytes() == b"a newer mask"
        assert output.remove("a/b.nii.gz")
        assert not output.path("a/b.nii.gz").exists()
        assert not output.remove("a/b.nii.gz")


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dead link", "ours, then edited"])
def test_a_foreign_file_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"by hand")
    place = tmp_path / "out" / "case.nii.gz"
    with OutputFolder(tmp_path / "out") as output:
        if kind == "file":
            place.write_bytes(b"by hand")
        elif kind == "folder":
            place.mkdir()
        elif kind in ("link", "dead link"):
            place.symlink_to(other if kind == "link" else tmp_path / "nothing")
        else:
            put(output, "case.nii.gz")
            place.write_bytes(b"corrected by hand")
        before = os.lstat(place)
        with pytest.raises(OutputError, match=r"case\.nii\.gz.*not written by Gridgate"):
            output.refuse_foreign(["new.nii.gz", "case.nii.gz"])
        with pytest.raises(OutputError, match="not written by Gridgate"):
            put(output, "case.nii.gz")
        assert not output.remove("case.nii.gz")
    after = os.lstat(place)
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert other.read_bytes() == b"by hand"


def test_a_mask_edited_to_the_same_size_is_foreign(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:
        path = put(output, "case.nii.gz", b"12345")
        path.write_bytes(b"54321")
        later = path.stat().st_mtime + 60
        os.utime(path, (later, later))
        assert not output.owns("case.nii.gz")


def test_a_table_that_grows_stays_ours(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:
        (tmp_path / "cases.csv").write_text("one row")
        output.record("cases.csv", any_content=True)
    (tmp_path / "cases.csv").write_text("saved by a spreadsheet")
    with OutputFolder(tmp_path) as output:
        assert output.owns("cases.csv")


def test_what_a_worker_writes_its_parent_knows(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:
        assert not output.owns("a.nii.gz")
        code = (
            "import sys; from gridgate.data.output_folder import OutputFolder\n"
            "OutputFolder(sys.argv[1]).write('a.nii.gz', lambda stream: stream.write(b'mask'))"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        assert output.owns("a.nii.gz")
    manifest = json.loads((tmp_path / ".gridgate" / "manifest.json").read_text())
    assert list(manifest["files"]) == ["a.nii.gz"]
    assert not list(tmp_path.glob(".gridgate/journal-*"))


def test_a_run_killed_between_two_steps_forgets_no_file(tmp_path: Path) -> None:
    for step in ("before", "after"):
        name = f"{step}.nii.gz"
        code = (
            "import os, sys; from gridgate.data.output_folder import OutputFolder\n"
            "real = os.replace\n"
            "def kill(a, b):\n"
            "    if str(b).endswith('.json'): return real(a, b)\n"
            "    if sys.argv[3] == 'after': real(a, b)\n"
            "    os.kill(os.getpid(), 9)\n"
            "os.replace = kill\n"
            "with OutputFolder(sys.argv[1]) as output:\n"
            "    output.write(sys.argv[2], lambda stream: stream.write(b'new'))\n"
        )
        with OutputFolder(tmp_path) as output:
            put(output, name, b"old one")
        killed = subprocess.run([sys.executable, "-c", code, str(tmp_path), name, step])
        assert killed.returncode == -signal.SIGKILL
        content = b"old one" if step == "before" else b"new"
        with OutputFolder(tmp_path) as output:
            assert output.path(name).read_bytes() == content
            assert output.owns(name)
        assert not [path for path in tmp_path.iterdir() if is_temporary(path.name)]


def test_a_torn_line_of_a_killed_run_is_no_entry(tmp_path: Path) -> None:
    put(OutputFolder(tmp_path), "a.nii.gz")
    (journal,) = tmp_path.glob(".gridgate/journal-*")
    journal.write_bytes(journal.read_bytes() + b'["b.nii')
    with OutputFolder(tmp_path) as output:
        assert output.owns("a.nii.gz")


def test_a_manifest_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:
        put(output, "a.nii.gz")
    (tmp_path / ".gridgate" / "manifest.json").write_text("{}")
    with pytest.raises(OutputError, match=r"manifest\.json: cannot be read"):
        OutputFolder(tmp_path).owns("a.nii.gz")


def test_only_our_own_leftovers_are_removed(tmp_path: Path) -> None:
    foreign = [".x.partial", ".x.0123456789ab.partial", ".cases.csv.part", "y.gridgate-part", "z"]
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        for name in (*foreign, temporary_name("model.pt"), temporary_name("metrics.csv")):
            (place / name).touch()
    with OutputFolder(tmp_path):
        pass
    for place in (tmp_path, tmp_path / "sub"):
        assert sorted(path.name for path in place.iterdir() if path.is_file()) == sorted(foreign)


def test_a_run_in_a_sub_folder_keeps_its_files(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "sub"):
        being_written = tmp_path / "sub" / temporary_name("a.nii.gz")
        being_written.touch()
        with OutputFolder(tmp_path):
            pass
        assert being_written.exists()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys, time; from gridgate.data.output_folder import OutputFolder\n"
        "with OutputFolder(sys.argv[1]):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(ConfigError, match="another run is writing there"),
            OutputFolder(tmp_path),
        ):
            pass
        other.kill()
    held = OutputFolder(tmp_path)
    with held, held, pytest.raises(ConfigError, match="another run"), OutputFolder(tmp_path):
        pass  # whoever holds it may enter again, nobody else


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("flock")])
def test_a_file_system_without_locks(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with caplog.at_level(logging.WARNING), OutputFolder(tmp_path) as output:
        put(output, "a.nii.gz")
    assert "has no locks" in caplog.text
    assert OutputFolder(tmp_path).owns("a.nii.gz")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write here"), OutputFolder(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    "name",
    ["../a", "/a", "sub/../../a", "C:/a", "C:a", "..\\a", "sub\\..\\..\\a", "\\\\host\\a", "", "."],
)
def test_names_that_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="leads out of the folder"):
        path_inside(tmp_path, name)
    with pytest.raises(OutputError, match="leads out of the folder"):
        put(OutputFolder(tmp_path / "out"), name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a..b", "a/b..nii", "sub/a", "ü/ä ö", "..."])
def test_names_that_stay_inside(name: str, tmp_path: Path) -> None:
    assert put(OutputFolder(tmp_path), name).resolve().is_relative_to(tmp_path.resolve())


def test_the_records_themselves_are_no_results(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="own records"):
        put(OutputFolder(tmp_path), ".gridgate/manifest.json")


def test_temporary_names_are_hidden_fit_and_are_told_from_others() -> None:
    for name in ("case.nii.gz", "x" * 255, "ü" * 127):
        temporary = temporary_name(name)
        assert is_temporary(temporary)
        assert temporary.startswith(".")
        assert len(os.fsencode(temporary)) <= 255


def test_many_files_are_entered_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is not written anew for each file, which would be quadratic."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    began = time.perf_counter()
    with OutputFolder(tmp_path) as output:
        for number in range(2000):
            put(output, f"case_{number}.nii.gz")
    assert time.perf_counter() - began < 20
    assert all(OutputFolder(tmp_path).owns(f"case_{number}.nii.gz") for number in (0, 1999))


def test_what_write_atomically_is_told_before_the_file_appears(tmp_path: Path) -> None:
    seen: list[tuple[int, bool]] = []
    path = tmp_path / "a"
    write_atomically(
        path,
        lambda stream: stream.write(b"123"),
        before_rename=lambda status: seen.append((status.st_size, path.exists())),
    )
    assert seen == [(3, False)]


def test_a_link_is_ours_until_somebody_puts_another_there(tmp_path: Path) -> None:
    target, other = tmp_path / "target", tmp_path / "another target"
    target.write_text("a scan")
    other.write_text("a scan")
    with OutputFolder(tmp_path / "out") as output:
        output.link("sub/case", target)
        assert output.owns("sub/case")
        output.link("sub/case", target)  # ours is replaced
    (tmp_path / "out/sub/case").unlink()
    (tmp_path / "out/sub/case").symlink_to(other)
    output = OutputFolder(tmp_path / "out")
    assert not output.owns("sub/case")
    with pytest.raises(OutputError, match="not written by Gridgate"):
        output.link("sub/case", target)
    assert (tmp_path / "out/sub/case").resolve() == other
    assert target.read_text() == "a scan"


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("a scan")
    with OutputFolder(tmp_path / "out") as output:
        output.link("case", tmp_path / "target")
        assert output.remove("case")
    assert (tmp_path / "target").read_text() == "a scan"
    assert not (tmp_path / "out/case").is_symlink()


def test_where_no_link_can_be_made_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "no links")

    monkeypatch.setattr(os, "symlink", refuse)
    with OutputFolder(tmp_path / "out") as output, pytest.raises(OSError, match="no links"):
        output.link("case", tmp_path / "target")
    assert not list((tmp_path / "out").glob("*case*"))


def test_a_file_system_whose_kernel_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As Lustre without flock: filelock's own way out takes the file itself for a lock."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    for name in ("a.nii.gz", "b.nii.gz"):
        with caplog.at_level(logging.WARNING), OutputFolder(tmp_path) as output:
            put(output, name)
    assert "has no locks" in caplog.text
