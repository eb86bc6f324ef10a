"""How a training was started: when, with which command, versions and machine."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ...models.machine import machine_facts

STARTS = "starts"


def this_start() -> dict[str, Any]:
    """When (UTC), the command as it was typed, and what it runs on; plain values."""
    return {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": typed_command(),
        "machine": dict(machine_facts()),
    }


def typed_command() -> str:
    """The command of this process as it was typed, its program by its name alone."""
    typed = sys.orig_argv
    if typed[1:2] == ["-m"]:
        return shlex.join(["python", *typed[1:]])
    program, *words = sys.argv or [""]
    return shlex.join([Path(program).name, *words])


def starts_so_far(settings: Path) -> list[dict[str, Any]]:
    """The starts in a settings.json; none where it is missing or of an earlier version."""
    try:
        return list(json.loads(settings.read_text(encoding="utf-8"))[STARTS])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def told(start: dict[str, Any]) -> str:
    """A start in a sentence, for the bundle's page."""
    return (
        f"Started by `{start['command']}` with {start['machine']['versions']} on "
        f"{start['machine']['system']}; `settings.json` has every setting, `splits.json` the cases "
        "of each fold."
    )
