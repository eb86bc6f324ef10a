"""A bundle of MONAI's model zoo: its config for inference, its metadata and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from .....data.errors import ConfigError
from .values import ConfigValues

_NAMES = ("inference", "evaluate")
_ENDINGS = (".json", ".yaml", ".yml")


@dataclass(frozen=True, eq=False)
class ZooBundle:
    """What a bundle's files say.

    Args:
        folder: of the bundle.
        file: its config for inference.
        values: of that config.
        metadata: of its metadata.json; empty where there is none.
    """

    folder: Path
    file: Path
    values: ConfigValues
    metadata: Mapping[str, Any]

    def said(self, *keys: str) -> Any:
        """What the metadata has under keys in one another; None where it is not there."""
        found: Any = self.metadata
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


def is_zoo_bundle(folder: str | Path) -> bool:
    """Whether a folder has a config for inference where MONAI's bundles have theirs."""
    return _config(Path(folder)) is not None


def read_zoo_bundle(folder: str | Path) -> ZooBundle:
    """Read a bundle's files; no code of it is run.

    Args:
        folder: with configs/inference.json, .yaml or .yml, configs/metadata.json, and its weights.

    Raises:
        ConfigError: there is no such config, or a file cannot be read.
    """
    folder = Path(folder)
    file = _config(folder)
    if file is None:
        raise ConfigError(
            f"{folder}: no bundle of MONAI's: configs/inference.json or .yaml is wanted"
        )
    place = folder / "configs" / "metadata.json"
    metadata = _mapping(place) if place.is_file() else {}
    if "plan" in metadata:
        raise ConfigError(f"{folder}: is a bundle of Gridgate already; run it as it is")
    return ZooBundle(
        folder=folder, file=file, values=ConfigValues(_mapping(file), of=file), metadata=metadata
    )


def _config(folder: Path) -> Path | None:
    places = [folder / "configs" / f"{name}{end}" for name in _NAMES for end in _ENDINGS]
    return next((place for place in places if place.is_file()), None)


def _mapping(file: Path) -> dict[str, Any]:
    try:
        if file.suffix == ".json":
            found = json.loads(file.read_text(encoding="utf-8"))
        else:
            found = ConfigParser.load_config_file(str(file))
    except Exception as error:  # YAML's errors are many
        raise ConfigError(f"{file}: cannot be read ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: a mapping is wanted")
    return found
