"""Where the bundles are: those that come with Gridgate, and copies."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ...data.errors import ConfigError


def bundles_folder() -> Path:
    """Where the bundles lie, and their template, plans and datasets."""
    spec = find_spec("gridgate.bundles")  # found by path: no code imports bundles
    assert spec is not None and spec.origin is not None, "gridgate is not installed completely"
    return Path(spec.origin).resolve().parent


def shipped_bundles() -> list[Path]:
    """Folders of the bundles that come with Gridgate, by name."""
    return sorted(path.parent.parent for path in bundles_folder().glob("*/configs/metadata.json"))


def is_bundle(folder: str | Path) -> bool:
    """Whether a folder is a bundle."""
    return (Path(folder) / "configs" / "metadata.json").is_file()


def own_weights(bundle: str | Path) -> Path | None:
    """The file of the weights that a bundle has; None where it has none."""
    path = Path(bundle) / "models" / "model.pt"
    return path if path.is_file() else None


def bundles_with_weights() -> list[Path]:
    """Those of `shipped_bundles` that have weights, so that they run by their name."""
    return [bundle for bundle in shipped_bundles() if own_weights(bundle) is not None]


def bundle_path(name: str | Path) -> Path:
    """Folder of a bundle that comes with Gridgate, by its name, or of a copy, by its path.

    Raises:
        ConfigError: neither is there.
    """
    if is_bundle(name):
        return Path(name)
    known = {path.name: path for path in shipped_bundles()}
    if str(name) not in known:
        raise ConfigError(
            f"{name}: no such bundle; give a bundle's folder, or one of: {', '.join(known)}"
        )
    return known[str(name)]
