"""Overrides of a bundle's config are checked, because MONAI itself accepts a misspelt one silently."""

from __future__ import annotations

import difflib
import inspect
import pydoc
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from monai.bundle import BundleWorkflow, ConfigParser, ConfigWorkflow
from monai.utils import ensure_tuple

from ..data.errors import ConfigError, GridgateError

_SEP = "::"
_SUFFIXES = (".yaml", ".yml", ".json")


def begin(workflow: BundleWorkflow | None = None) -> None:
    """First step of each bundle's `initialize`: misspelt overrides end the run, errors of ours print as one line.

    Args:
        workflow: the workflow to check; by default the one that is evaluating the config now.

    Raises:
        ConfigError: an id in the config is in none of the bundle's config files; the text names the nearest.
    """
    show_errors_plainly()
    workflow = workflow or _running_workflow()
    if not isinstance(workflow, ConfigWorkflow):
        return  # a tool that parses the config by itself (MONAI Label) sets ids of its own
    known: dict[str, Any] = {ConfigParser.meta_key: ConfigParser.load_config_files(workflow.meta_file or {})}
    for path in _config_files(Path(workflow.config_root_path)):
        _merge(known, ConfigParser.load_config_file(str(path)))
    for unknown, siblings in _unknown_ids(cast("dict[str, Any]", workflow.parser.config), known, ""):
        raise ConfigError(_message(unknown, siblings))


def show_errors_plainly() -> None:
    """From here on an error that a user can cause ends the program with its text alone, without a traceback."""
    if getattr(sys.excepthook, "shows_plainly", False):
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = user_error(error)
        if cause is None:
            before(kind, error, trace)
        else:
            print(f"error: {cause}", file=sys.stderr)

    hook.shows_plainly = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def user_error(error: BaseException | None) -> GridgateError | None:
    """The error of ours behind an exception (MONAI and Ignite wrap what a transform raises), or None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, GridgateError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _running_workflow() -> BundleWorkflow | None:
    """The MONAI workflow whose `initialize` called us: MONAI gives an expression no other way to see its config."""
    frame = inspect.currentframe()
    while frame is not None:
        candidate = frame.f_locals.get("self")
        if isinstance(candidate, BundleWorkflow):
            return candidate
        frame = frame.f_back
    return None


def _config_files(folder: Path) -> list[Path]:
    """Every config file of the bundle, and those named by the caller from elsewhere (a user's own overlay)."""
    files = {path.resolve() for path in folder.iterdir() if path.suffix in _SUFFIXES and path.stem != "metadata"}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "monai.bundle.scripts":
            named = frame.f_locals.get("config_file")
            files |= {Path(str(name)).resolve() for name in ensure_tuple(named) if named is not None}
        frame = frame.f_back
    return sorted(path for path in files if path.is_file())


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        key = key.lstrip("+~")
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, dict):
            into[key] = {}
            _merge(into[key], value)
        elif key not in into:
            into[key] = value


def _unknown_ids(given: dict[str, Any], known: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, list[str]]]:
    for key, value in given.items():
        if key not in known:
            allowed = _parameters(given)
            if allowed is None or (key not in allowed and not key.startswith("_")):
                yield prefix + key, [prefix + name for name in {*known, *(allowed or ())}]
            continue
        # a value that was a reference, macro or empty before may become any dict
        if isinstance(value, dict) and isinstance(known[key], dict) and known[key]:
            yield from _unknown_ids(value, known[key], prefix + key + _SEP)


def _parameters(component: Mapping[str, Any]) -> set[str] | None:
    """Argument names of a `_target_` component, or None when this dict is none or takes anything."""
    target = component.get("_target_")
    if not isinstance(target, str):
        return None
    located = pydoc.locate(target)
    if not callable(located):
        return None
    return set(inspect.signature(located).parameters)


def _message(unknown: str, siblings: list[str]) -> str:
    nearest = difflib.get_close_matches(unknown, siblings, n=1, cutoff=0.5)
    hint = f"did you mean --{nearest[0]}?" if nearest else "known here: " + ", ".join(sorted(siblings)[:40])
    return f"--{unknown} is no setting of this bundle: {hint}"
