"""Weights that come with a bundle: what its page says of them, and that they are of its plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from ...data.sizes import bytes_in_words
from .bundle_folders import own_weights
from .plan import CARRIED, Plan, plan_differences


@dataclass(frozen=True)
class ShippedWeights:
    """What a bundle's page says of the weights that come with it, in Markdown.

    The texts stand in the bundle's plan file, under `weights`; one that is "" has no place on the
    page. They are of these weights alone, and no part of the plan, which other weights carry too.

    Args:
        size: of the file, in words.
        trained_on: the data, how many cases, and how.
        data_licence: of the data that they were trained on.
        not_for: what they must not be used for.
    """

    size: str
    trained_on: str = ""
    data_licence: str = ""
    not_for: str = ""


def shipped_weights(
    bundle: Path, plan: Plan, said: Mapping[str, Any] | None = None
) -> ShippedWeights | None:
    """What there is to say of a bundle's own weights; None where it has none.

    Args:
        bundle: its folder.
        plan: what it is written from.
        said: `weights` of the plan file.

    Raises:
        ConfigError: the weights were made for another plan, or carry none; `said` has other texts
            than those of ShippedWeights.
    """
    texts = {one.name for one in dataclasses.fields(ShippedWeights)} - {"size"}
    strangers = sorted(set(said or {}) - texts)
    if strangers:
        raise ConfigError(
            f"plan {plan.name}: weights has no {', '.join(strangers)}; it takes "
            f"{', '.join(sorted(texts))}"
        )
    path = own_weights(bundle)
    if path is None:
        return None
    _check(path, plan)
    told = {name: str(text).strip() for name, text in (said or {}).items()}
    return ShippedWeights(bytes_in_words(path.stat().st_size), **told)


def _check(path: Path, plan: Plan) -> None:
    import torch  # here: `gridgate` lists bundles without it

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch's reading raises
        raise ConfigError(f"{path}: cannot be read as weights ({type(error).__name__})") from error
    carried = getattr(content, "_metadata", {}).get(CARRIED)
    if not isinstance(carried, dict):
        raise ConfigError(
            f"{path}: carries no plan; make it of a training's output O: gridgate export O {path}"
        )
    if carried.get("fingerprint") != plan.fingerprint:
        changed = plan_differences(carried.get("plan") or {}, plan)
        raise ConfigError(
            f"{path}: trained with another plan than {plan.name}'s: "
            f"{'; '.join(changed) or 'an older form of it'}. Take the plan back, or train anew and "
            "ship those weights"
        )
