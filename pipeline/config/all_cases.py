"""A training on all cases: nnU-Net's word for it is `--fold all`, ours `--folds 1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...data.errors import ConfigError

_ALL = "all"


def settle_fold_all(config: dict[str, Any], known: Mapping[str, Any]) -> None:
    """Make `folds` 1 and `fold` 0 of a `fold` that is "all".

    Args:
        config: with its overrides; changed in place.
        known: the same config as it stands in its files.

    Raises:
        ConfigError: another number of folds was given as well.

    Example:
        >>> config = {"fold": "all", "folds": 5}
        >>> settle_fold_all(config, {"fold": 0, "folds": 5})
        >>> config
        {'fold': 0, 'folds': 1}
    """
    if config.get("fold") != _ALL or "folds" not in known:
        return
    if config["folds"] not in (1, known["folds"]):
        raise ConfigError(
            f"--fold all --folds {config['folds']}: all cases are one fold; leave --folds out, or "
            "give --folds 1 alone"
        )
    config["fold"], config["folds"] = 0, 1
