"""Overrides of a bundle's config are checked, because MONAI itself accepts a misspelt one silently."""

from __future__ import annotations

import difflib
import inspect
import pydoc
import sys
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from monai.bundle import (
    BundleWorkflow,
    ComponentLocator,
    ConfigComponent,
    ConfigParser,
    ConfigWorkflow,
)
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS
from monai.utils import ensure_tuple

from ..data.errors import ConfigError, user_error
from .config.identity import identity

_SEP = "::"
_ANY = "**"
_SUFFIXES = (".yaml", ".yml", ".json")
# Which keys these take depends on what stands in them, and what they are handed to refuses the
# others.
_CHECKED_LATER = ("architecture", "intensity", "augmentation")

_running: weakref.ref[BundleWorkflow] | None = None  # the workflow that called `begin` last


def begin(workflow: BundleWorkflow | None = None) -> None:
    """First step of each bundle's `initialize`: misspelt overrides end the run, errors of ours print as one line.

    Args:
        workflow: the workflow to check; by default the one that is evaluating the config now.

    Raises:
        ConfigError: an id in the config is in none of the bundle's config files; the text names the
            nearest.
    """
    global _running
    show_errors_plainly()
    workflow = workflow or _running_workflow()
    _running = None if workflow is None else weakref.ref(workflow)
    if not isinstance(workflow, ConfigWorkflow):
        return  # a tool that parses the config by itself (MONAI Label) sets ids of its own
    known: dict[str, Any] = {
        ConfigParser.meta_key: ConfigParser.load_config_files(workflow.meta_file or {})
    }
    for path in _config_files(Path(workflow.config_root_path)):
        _merge(known, ConfigParser.load_config_file(str(path)))
    tracking = cast(
        "dict[str, dict[str, Any]]", DEFAULT_MLFLOW_SETTINGS
    )  # what MONAI's own --tracking adds
    _merge(known, dict.fromkeys(tracking["configs"].keys() - tracking["handlers_id"].keys()))
    given = cast("dict[str, Any]", workflow.parser.config)
    for unknown, siblings in _unknown_ids(given, known, "", workflow.parser.locator):
        raise ConfigError(_message(unknown, siblings, _flat(known)))
    for name, value in cast("dict[str, Any]", workflow.parser.config).items():
        # "false" would be a word, and so count as true
        if (
            isinstance(known.get(name), bool)
            and not isinstance(value, bool)
            and str(value)[:1] not in ("$", "@", "%")
        ):
            raise ConfigError(f"--{name} {value}: write True or False")


def run_settings() -> dict[str, Any]:
    """Flat id -> value of all that can change the running workflow's results.

    Overrides and macros are resolved, expressions are text (see `config.identity`). The values can
    be written as JSON and are the same in each run of the same settings.

    Returns:
        An empty dict where no workflow has called `begin`: tools that parse the config themselves.
    """
    workflow = _running() if _running is not None else None
    if not isinstance(workflow, ConfigWorkflow):
        return {}
    return identity(cast("dict[str, Any]", workflow.parser.config))


def show_errors_plainly() -> None:
    """From here on an error that a user can cause ends the program with its text alone, without a traceback."""
    if getattr(sys.excepthook, "shows_plainly", False):
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        cause = user_error(error)
        if isinstance(error, KeyboardInterrupt):
            print("stopped; start the same command again to go on", file=sys.stderr)
        elif cause is None:
            before(kind, error, trace)
        else:
            print(f"error: {cause}", file=sys.stderr)

    hook.shows_plainly = True  # type: ignore[attr-defined]
    sys.excepthook = hook


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
    files = {
        path.resolve()
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.stem != "metadata"
    }
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "monai.bundle.scripts":
            named = frame.f_locals.get("config_file")
            files |= {
                Path(str(name)).resolve() for name in ensure_tuple(named) if named is not None
            }
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


def _unknown_ids(
    given: dict[str, Any], known: Mapping[str, Any], prefix: str, locator: ComponentLocator
) -> Iterator[tuple[str, list[str]]]:
    for key, value in given.items():
        if key not in known:
            accepted = _parameters(given, locator)
            if not (
                key in accepted or _ANY in accepted or ("_target_" in given and key.startswith("_"))
            ):
                yield prefix + key, [prefix + name for name in {*known, *accepted}]
        # a value that was a reference, macro or empty before may become any dict
        elif (
            isinstance(value, dict)
            and isinstance(known[key], dict)
            and known[key]
            and prefix + key not in _CHECKED_LATER
        ):
            yield from _unknown_ids(value, known[key], prefix + key + _SEP, locator)


def _parameters(component: Mapping[str, Any], locator: ComponentLocator) -> set[str]:
    """Argument names of a `_target_` component; _ANY among them when it takes any; none when it is none."""
    located = None
    if isinstance(component.get("_target_"), str):  # MONAI's own are named without their module
        located = pydoc.locate(
            ConfigComponent(dict(component), locator=locator).resolve_module_name()
        )
    if not callable(located):
        return set()
    # a class that hands **options on to its base accepts the base's arguments too
    kinds = inspect.getmro(located)[:-1] if isinstance(located, type) else ()
    layers = [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)] or [located]
    names: set[str] = set()
    for layer in layers:
        parameters = inspect.signature(layer).parameters.values()
        names |= {parameter.name for parameter in parameters if parameter.name != "self"}
        open_end = [
            parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD
        ]
        names -= set(open_end)
        if not open_end:
            return names
    return names | {_ANY}


def _message(unknown: str, siblings: list[str], everywhere: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(unknown, siblings, n=1, cutoff=0.6)
    last = unknown.rsplit(_SEP, 1)[-1]
    nearest += [name for name in everywhere if name.rsplit(_SEP, 1)[-1] == last]
    nearest += difflib.get_close_matches(unknown, siblings, n=1, cutoff=0.4)
    hint = (
        f"did you mean --{nearest[0]}?"
        if nearest
        else "known here: " + ", ".join(sorted(siblings)[:40])
    )
    return f"--{unknown} is no setting of this bundle: {hint}"


def _flat(known: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in known.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _flat(value, prefix + key + _SEP)
