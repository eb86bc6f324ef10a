"""Trainings whose cases a tool gives as lists, in the place of a dataset folder (MONAI Label)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BUNDLE_ROOT = "@bundle_root"


def settle_given_cases(config: dict[str, Any], known: Mapping[str, Any]) -> None:
    """Where `train::dataset::data` is a list of cases, there is no dataset folder: settle the rest.

    Labels are taken as they are (`dataset_dir` is None). Unless the tool says otherwise, the
    weights land where it reads them, in the bundle itself (`output_dir`). A tool that sets the
    trainer's number of epochs means the learning rate's schedule too (`epochs`).

    Args:
        config: with its overrides; changed in place.
        known: the same config as it stands in its files.
    """
    if not _has_list(config):
        return
    config["dataset_dir"] = None
    if config.get("output_dir") == known.get("output_dir"):
        config["output_dir"] = _BUNDLE_ROOT
    epochs = config["train"].get("trainer", {}).get("max_epochs")
    if isinstance(epochs, int) and config.get("epochs") == known.get("epochs"):
        config["epochs"] = epochs


def _has_list(config: Mapping[str, Any]) -> bool:
    inside: Any = config
    for key in ("train", "dataset", "data"):
        inside = inside.get(key) if isinstance(inside, Mapping) else None
    return isinstance(inside, list)
