"""The plan that a run really has: the bundle's, with the numbers of its config over it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .plan import Plan

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
    if any(numbers.get(name, settings.get(name)) != settings.get(name) for name in _CHANNELS):
        settings["thresholds"] = None  # they were chosen for other channels
    return Plan.from_dict({**settings, **numbers})


def bundle_plan(bundle_root: str | Path) -> dict[str, Any]:
    """The settings of the plan that stand in a bundle's metadata.json; none without such a file."""
    path = Path(bundle_root) / "configs" / "metadata.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")).get("plan", {})
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}
