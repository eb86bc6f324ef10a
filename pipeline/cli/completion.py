"""Completion of command lines in the shell, by argcomplete where it is installed.

Switched on by `eval "$(register-python-argcomplete gridgate)"` in bash or zsh.
"""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path
from typing import Any

from ..plans.bundle_folders import shipped_bundles
from .arguments import Parser
from .settings import settings_of

_DEVICES = ("auto", "cpu", "cuda", "all")


def complete(parser: argparse.ArgumentParser) -> None:
    """End the process with what may follow on a command line, if a shell asks for it now."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        argcomplete = importlib.import_module("argcomplete")
    except ImportError:
        return
    for command in commands_of(parser).values():
        add_settings(command)
    argcomplete.autocomplete(parser)


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name -> parser of each command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def add_settings(command: argparse.ArgumentParser) -> None:
    """Make options of a command's settings, as completion knows no others."""
    config = command.get_default("config")
    if not isinstance(command, Parser) or config is None:
        return
    command.takes_settings = False
    for action in command._get_positional_actions():
        action.nargs = None  # or all that are missing would count as given before an option
    for setting in settings_of(config):
        if f"--{setting.name}" in command._option_string_actions:
            continue  # that the command has as an option, too
        option = command.add_argument(f"--{setting.name}", help=setting.meaning)
        choices = _values(setting.name, setting.default)
        option.completer = files if choices is None else _Choices(choices)  # type: ignore[attr-defined]


class _Choices:
    def __init__(self, values: tuple[str, ...]) -> None:
        self.values = values

    def __call__(self, prefix: str, **_: Any) -> list[str]:
        return [value for value in self.values if value.startswith(prefix)]


def bundle_names(prefix: str, **_: Any) -> list[str]:
    """Bundles that come with Gridgate, and folders."""
    names = [path.name for path in shipped_bundles() if path.name.startswith(prefix)]
    return [*names, *(name for name in files(prefix) if name.endswith("/"))]


def files(prefix: str, **_: Any) -> list[str]:
    """Files and folders that begin so."""
    folder, _slash, start = prefix.rpartition("/")
    place = Path(folder or ("/" if prefix.startswith("/") else "."))
    try:
        names = sorted(entry.name for entry in place.iterdir())
    except OSError:
        return []
    before = f"{folder}/" if "/" in prefix else ""
    return [
        f"{before}{name}{'/' if (place / name).is_dir() else ''}"
        for name in names
        if name.startswith(start) and (start.startswith(".") or not name.startswith("."))
    ]


def _values(name: str, default: str) -> tuple[str, ...] | None:
    """Values to offer for a setting; None: files."""
    if default in ("true", "false"):
        return ("True", "False")
    known = {
        "device": _DEVICES,
        "amp": ("auto", "True", "False"),
        "isolate": ("True", "False", "null"),
        "part": ("validation", "train", "all"),
        "non_finite": ("error", "replace"),
        "uneven": ("refuse", "resample"),
    }
    return known.get(name)
