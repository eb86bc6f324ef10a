"""The plan that a run really has: the bundle's, with the numbers of its config over it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from .plan import Plan

_HANDED_ON = {
    "overlap": "overlap",
    "blend": "blend",
    "mirror_axes": "test_mirror_axes",
    "thresholds": "thresholds",
    "keep_largest": "keep_largest",
    "smallest_piece": "smallest_piece",
    "expected": "expected",
}
"""Setting of inference.yaml -> field of the plan."""
_CHANNELS = ("labels", "output_channels", "region_values")


def resolved_plan(*, bundle_root: str | Path, **numbers: Any) -> Plan:
    """The plan of a config's numbers, overrides included.

    What a config does not say (title, description, training's settings, ...) is taken from the
    bundle's metadata.json where it is there.

    Args:
        bundle_root: the bundle's folder.
        numbers: fields of Plan.

    Raises:
        ConfigError: a number is impossible.
    """
    settings = {"name": Path(bundle_root).resolve().name, **bundle_plan(bundle_root)}
    if "labels" in numbers:
        # what the bundle says of labels that were overridden away is of no use
        for said in ("expected", "measured", "terminology", "smallest_piece"):
            settings[said] = {
                name: what
                for name, what in (settings.get(said) or {}).items()
                if name in numbers["labels"]
            }
        settings["smallest_piece"] = settings["smallest_piece"] or None
        settings["keep_largest"] = _for_labels(settings, numbers["labels"])
    if any(numbers.get(name, settings.get(name)) != settings.get(name) for name in _CHANNELS):
        settings["thresholds"] = None  # they were chosen for other channels
    mirrored = numbers.get("mirror_axes", settings.get("mirror_axes"))
    if mirrored != settings.get("mirror_axes"):  # what no training window was is not looked at
        tested = settings.get("test_mirror_axes") or []
        settings["test_mirror_axes"] = [axis for axis in tested if axis in (mirrored or [])]
    return Plan.from_dict({**settings, **numbers})


def edited_settings(bundle_root: str | Path) -> dict[str, tuple[Any, Any]]:
    """What a bundle's inference.yaml says otherwise than its plan, which a training hands on.

    Returns:
        Setting -> what the file says, and what the plan does.
    """
    plan, path = bundle_plan(bundle_root), Path(bundle_root) / "configs" / "inference.yaml"
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    if not (plan and isinstance(said, dict)):
        return {}
    found = {}
    for name, planned in _HANDED_ON.items():
        if name in said and planned in plan and said[name] != plan[planned]:
            found[name] = (said[name], plan[planned])
    return found


def _for_labels(settings: dict[str, Any], labels: Sequence[str]) -> bool | list[int]:
    """Of which labels the largest piece alone is kept, where the labels are others now."""
    kept, before = settings.get("keep_largest", False), settings.get("labels")
    if isinstance(kept, bool) or before is None or list(before) == list(labels):
        return kept if isinstance(kept, bool) else list(kept)
    names = [before[value] for value in kept if value < len(before)]
    return [labels.index(name) for name in names if name in labels] or False


def bundle_plan(bundle_root: str | Path) -> dict[str, Any]:
    """The settings of the plan that stand in a bundle's metadata.json; none without such a file."""
    path = Path(bundle_root) / "configs" / "metadata.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("plan", {})
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}
