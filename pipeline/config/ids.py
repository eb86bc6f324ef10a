"""Which ids a workflow's config knows; MONAI itself accepts a misspelt override silently."""

from __future__ import annotations

import difflib
import inspect
import pydoc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS

from ...data.errors import ConfigError
from .twins import is_twin
from .values import MISSING, SEP

_ANY = "**"
_SUFFIXES = (".yaml", ".yml", ".json")
# Which keys these take depends on what stands in them, and what they are handed to refuses the
# others.
_CHECKED_LATER = (
    "architecture",
    "augmentation",
    "expected",
    "intensity",
    "merge_labels",
    "pretrained_encoders",
    "terminology",
)


def config_files(folder: Path) -> list[Path]:
    """Every config file of a bundle's `configs`, but for the metadata and the YAML files' twins."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.stem != "metadata" and not is_twin(path)
    )


def files_of(config: Mapping[str, Any], folder: Path) -> list[Path]:
    """The config files of a folder that a config was read from: all of whose keys are in it."""
    return [path for path in config_files(folder) if known_ids([path]).keys() <= config.keys()]


def known_ids(files: Iterable[Path], metadata: Any = None) -> dict[str, Any]:
    """What the config files hold together; of the same id the first file's value.

    Args:
        metadata: its files, as MONAI's workflow names them; None leaves `_meta_` out.
    """
    known: dict[str, Any] = {}
    if metadata is not None:
        known[ConfigParser.meta_key] = ConfigParser.load_config_files(metadata)
    for path in files:
        _merge(known, ConfigParser.load_config_file(str(path)))
    return known


def default_of(known: Mapping[str, Any], id_: str) -> Any:
    """The value of an id in the config's files, or MISSING."""
    inside: Any = known
    for key in id_.split(SEP):
        if isinstance(inside, list) and key.isdigit() and int(key) < len(inside):
            inside = inside[int(key)]
        elif isinstance(inside, Mapping) and key in inside:
            inside = inside[key]
        else:
            return MISSING
    return inside


def check_ids(
    given: Mapping[str, Any],
    known: Mapping[str, Any],
    locator: ComponentLocator,
    others: Sequence[Path] = (),
) -> None:
    """Refuse a config with an id that its files do not have.

    Args:
        given: with its overrides.
        known: of `known_ids`.
        others: config files of other workflows of the bundle; one that has the id is named.

    Raises:
        ConfigError: the text names the nearest id.
    """
    tracking = cast("dict[str, dict[str, Any]]", DEFAULT_MLFLOW_SETTINGS)  # --tracking adds them
    added = tracking["configs"].keys() - tracking["handlers_id"].keys()
    for unknown, siblings in _unknown_ids(given, {**dict.fromkeys(added), **known}, "", locator):
        raise unknown_id(unknown, siblings, known, others)


def unknown_id(
    unknown: str, siblings: Iterable[str], known: Mapping[str, Any], others: Sequence[Path]
) -> ConfigError:
    """The error that names where an unknown id is known, or the nearest one that is."""
    having = [path for path in others if default_of(known_ids([path]), unknown) is not MISSING]
    if having:
        names = " and ".join(path.name for path in having)
        return ConfigError(f"--{unknown} is no setting of this workflow, but of {names}")
    siblings = list(siblings)
    nearest = difflib.get_close_matches(unknown, siblings, n=1, cutoff=0.6)
    last = unknown.rsplit(SEP, 1)[-1]
    nearest += [name for name in _flat(known) if name.rsplit(SEP, 1)[-1] == last]
    nearest += difflib.get_close_matches(unknown, siblings, n=1, cutoff=0.4)
    hint = (
        f"did you mean --{nearest[0]}?"
        if nearest
        else "known here: " + ", ".join(sorted(siblings)[:40])
    )
    return ConfigError(f"--{unknown} is no setting of this bundle: {hint}")


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
    given: Mapping[str, Any], known: Mapping[str, Any], prefix: str, locator: ComponentLocator
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
            yield from _unknown_ids(value, known[key], prefix + key + SEP, locator)


def _parameters(component: Mapping[str, Any], locator: ComponentLocator) -> set[str]:
    """Argument names of a `_target_` component; _ANY among them when it takes any."""
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


def _flat(known: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in known.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _flat(value, prefix + key + SEP)
