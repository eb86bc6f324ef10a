"""How scans are prepared for a network whose file does not say it: a plan's settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError
from ...plans.bundle_folders import bundle_path
from ...plans.planning import read_mapping
from ...plans.resolved import bundle_plan

_NEEDED = ("labels", "spacing", "roi_size", "intensity")
_ITS_OWN = ("name", "network", "imported", "results", "training", "version", "changelog")


def read_settings(source: str | Path) -> dict[str, Any]:
    """Settings of a plan: of a bundle of Gridgate, or of a YAML or JSON file.

    Args:
        source: a bundle's name or folder, or a file with labels, spacing, roi_size, intensity and,
            where they are not the defaults, other settings of a plan.

    Raises:
        ConfigError: it is neither, cannot be read, or lacks one of these.
    """
    path = Path(source)
    if not path.is_file():
        plan = bundle_plan(bundle_path(source))
        if not plan:
            raise ConfigError(
                f"{source}: a bundle, but none of Gridgate, so that it has no plan; import it first"
            )
        return without_own(plan)
    found = read_mapping(path, "a plan")
    lacking = [name for name in _NEEDED if name not in found]
    if lacking:
        raise ConfigError(f"{path}: lacks {', '.join(lacking)}")
    return without_own(found)


def without_own(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's settings without those that the network decides, and what it was."""
    return {key: value for key, value in settings.items() if key not in _ITS_OWN}
