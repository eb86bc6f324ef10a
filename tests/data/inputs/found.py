"""Empty files to find, and the ids of what was found."""

from pathlib import Path

from gridgate.data.inputs.find import Inputs


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def ids(inputs: Inputs) -> list[str]:
    return [case["id"] for case in inputs.cases]
