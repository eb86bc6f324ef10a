"""A bundle for any network and any dataset: `gridgate new-bundle`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from ...data.new_folder import new_folder, refuse_existing
from .fitting_window import fitting_window
from .plan import Plan
from .plan_settings import with_settings
from .planning import complete, new_plan_settings
from .training_numbers import check_training
from .writing import write_bundle

RECORDS = ("plan.json", "fingerprint.json")
"""What a planned bundle holds besides: why it is as it is, and the dataset's numbers."""


def new_bundle(
    network: str,
    dataset: str,
    folder: str | Path | None = None,
    *,
    size: str = "small",
    spatial_dims: int = 3,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write the bundle of a network for a dataset; it is there complete, or not at all.

    Args:
        network, dataset, size, spatial_dims: see planning.new_plan_settings.
        folder: to write; it must not exist. None: <dataset>_<network>[_2d] in the working folder.
        settings: of the plan, by id: {"roi_size": [64, 64, 64], "network::feature_scale": 4,
            "training::epochs": 100}.

    Returns:
        The folder.

    Raises:
        ConfigError: no such network, dataset or setting; a value that the network refuses; the
            folder exists.
    """
    name = Path(folder).name if folder is not None else None
    plan = new_plan_settings(network, dataset, size=size, spatial_dims=spatial_dims, name=name)
    target = Path(folder if folder is not None else plan["name"])
    refuse_existing(target, "give another folder with --to")
    given = dict(settings or {})
    if "network::img_size" not in given:
        plan = plan | {
            "network": {key: value for key, value in plan["network"].items() if key != "img_size"}
        }
    plan = complete(with_settings(plan, given))
    check_training(plan["training"])
    fitting = fitting_window(plan)
    if fitting != list(plan["roi_size"]):
        if "roi_size" in given:
            raise ConfigError(
                f"roi_size {plan['roi_size']}: {network} takes other multiples; give --roi_size "
                f'"{fitting}"'
            )
        # the dataset's window is a proposal: the next larger one that the network takes as it is
        plan = complete(with_settings(plan, {"roi_size": fitting} | given))
        if "network::img_size" not in given and "img_size" in plan["network"]:
            plan["network"] = plan["network"] | {"img_size": fitting[:spatial_dims]}
    return write_new_bundle(Plan.from_dict(plan), target)


def write_new_bundle(plan: Plan, folder: str | Path, more: Mapping[str, str] | None = None) -> Path:
    """Write a plan's bundle into a new folder; it is there complete, or not at all.

    Args:
        more: further files, name -> text.

    Raises:
        ConfigError: the folder exists.
        OutputError: it cannot be written.
    """
    with new_folder(folder) as work:
        write_bundle(plan, work)
        for name, text in (more or {}).items():
            (work / name).write_text(text, encoding="utf-8")
    return Path(folder)
