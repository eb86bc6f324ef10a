"""A bundle for any network and any dataset: `gridgate new-bundle`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...data.errors import ConfigError
from ...networks import build_for_volumes
from .plan import Plan
from .planning import complete, new_plan_settings
from .training_numbers import check_training
from .writing import write_bundle


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
        network, dataset, size, spatial_dims: see planning.new_plan.
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
    if target.exists():
        raise ConfigError(f"{target} exists already; give another folder with --to")
    given = dict(settings or {})
    if "network::img_size" not in given:
        plan = plan | {
            "network": {key: value for key, value in plan["network"].items() if key != "img_size"}
        }
    plan = complete(_with_settings(plan, given))
    check_training(plan["training"])
    fitting = _fitting_window(plan)
    if fitting != list(plan["roi_size"]):
        if "roi_size" in given:
            raise ConfigError(
                f'roi_size {plan["roi_size"]}: {network} takes other multiples; give --roi_size "{fitting}"'
            )
        # the dataset's window is a proposal: the next larger one that the network takes as it is
        plan = complete(_with_settings(plan, {"roi_size": fitting} | given))
        if "network::img_size" not in given and "img_size" in plan["network"]:
            plan["network"] = plan["network"] | {"img_size": fitting[:spatial_dims]}
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        os.chmod(work, 0o755)
        write_bundle(Plan.from_dict(plan), work)
        os.rename(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return target


def _with_settings(plan: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    result = {**plan, "network": dict(plan["network"]), "training": dict(plan["training"])}
    for name, value in settings.items():
        first, *rest = name.split("::")
        if first in ("network", "training") and len(rest) == 1:
            if name == "network::name":
                raise ConfigError(f"--{name}: the network is the command's first word")
            if name == "network::spatial_dims":
                raise ConfigError(
                    f"--{name}: give --spatial-dims {value}, which sets the window too"
                )
            if first == "training" and rest[0] not in result["training"]:
                raise ConfigError(
                    f"--{name}: no such setting; there are: {', '.join(sorted(result['training']))}"
                )
            result[first][rest[0]] = value
        elif rest or first in ("network", "training", "dataset", "name") or first not in result:
            known = [
                *sorted(set(result) - {"network", "training", "dataset", "name"}),
                "network::OPTION",
            ]
            known.append("training::SETTING")
            raise ConfigError(f"--{name}: no such setting of a plan; there are: {', '.join(known)}")
        else:
            result[first] = value
    return result


def _fitting_window(plan: Mapping[str, Any]) -> list[int]:
    """The plan's window, or the next larger one of the network's multiples. Builds the network without memory."""
    roi_size, own = (
        plan["roi_size"],
        {key: value for key, value in plan["network"].items() if key != "name"},
    )
    if (
        not isinstance(roi_size, list)
        or len(roi_size) != 3
        or any(not isinstance(n, int) or n < 1 for n in roi_size)
    ):
        raise ConfigError(
            f"roi_size {roi_size!r}: three whole numbers are wanted, as '[64, 64, 64]', in 2D (X, "
            "Y, slices)"
        )
    network = _built(
        plan, {key: value for key, value in own.items() if key != "img_size"}
    )  # any img_size: for divisor
    divisor: tuple[int, ...] = network.divisor  # type: ignore[assignment]  # nn.Module's attributes are tensors to mypy
    fitting = [-(-size // step) * step for size, step in zip(roi_size, divisor, strict=True)]
    if "img_size" in own:
        axes = own.get("spatial_dims", 3)
        network = _built(
            plan, own | ({"img_size": fitting[:axes]} if own["img_size"] == roi_size[:axes] else {})
        )
    try:
        network.train()(torch.empty(plan["training"]["batch_size"], 1, *fitting, device="meta"))
    except (
        NotImplementedError
    ):  # an operation that the meta device does not know: the window is taken as it is
        pass
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"windows of {fitting}, {plan['training']['batch_size']} at once: {error}"
        ) from error
    return fitting


def _built(plan: Mapping[str, Any], options: Mapping[str, Any]) -> torch.nn.Module:
    try:
        with torch.device("meta"):
            return build_for_volumes(
                plan["network"]["name"], in_channels=1, out_channels=len(plan["labels"]), **options
            )
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"network {plan['network']}: {error}") from error
