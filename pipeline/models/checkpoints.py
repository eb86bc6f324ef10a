"""Reading checkpoints: which file it is, loading it safely, whether it fits network and plan."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...data.errors import CheckpointError
from ..plans.bundle_folders import bundles_with_weights, is_bundle
from ..plans.plan import CARRIED, Plan, plan_differences

BEST, LAST = "model.pt", "last.pt"
"""Names of the best weights, in the folder `models` of a bundle, and of all that resuming needs."""
_HOLDERS = ("average", "model", "network", "state_dict")  # keys that tools keep a state dict under


def weights_file(path: str | Path) -> Path:
    """The file of weights that a path means: itself, or of a training's folder its best weights.

    Args:
        path: a file, or a folder with models/model.pt (or model.pt, as of older trainings).
    """
    path = Path(path)
    if not path.is_dir():
        return path
    places = (path / "models" / BEST, path / BEST)
    return next((place for place in places if place.is_file()), places[0])


def training_folder(path: str | Path) -> Path:
    """The folder O of the training that wrote a checkpoint O, O/model.pt or O/models/model.pt."""
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    return folder.parent if folder.name == "models" and folder != path else folder


def load_checkpoint(path: str | Path, *, device: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint's tensors, never its code (weights_only).

    Args:
        path: see `weights_file`.

    Raises:
        CheckpointError: missing, damaged, or holding more than tensors and plain values.
    """
    path = weights_file(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no such checkpoint; give one (training writes "
            f"OUTPUT_DIR/models/{BEST}), or, to evaluate or infer with untrained weights, "
            f"--load_pretrain False{_who_has_weights(path)}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise CheckpointError(
            f"{path}: not a checkpoint that loads safely ({type(error).__name__})"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, not a state dict")
    return content


def _who_has_weights(path: Path) -> str:
    """What there is in the place of a bundle's own weights that are not there."""
    if path.parent.name != "models" or not is_bundle(path.parent.parent):
        return ""
    names = ", ".join(bundle.name for bundle in bundles_with_weights())
    if not names:
        return ". No bundle that comes with Gridgate has weights: train one"
    return f". Bundles that come with weights: {names}"


def load_weights(
    network: torch.nn.Module, path: str | Path, plan: Plan | None = None
) -> torch.nn.Module:
    """Load `model.pt`, the network of a `last.pt`, or another tool's {"model": ...}, strictly.

    Args:
        path: see `weights_file`.
        plan: the Plan that the network is run with. It must be that of the training, where the
            checkpoint carries one; None does not compare.

    Raises:
        CheckpointError: it belongs to another network or plan; the text names what does not fit.
    """
    path = weights_file(path)
    content = load_checkpoint(path)
    if plan is not None:
        _check_plan(path, carried_plan(content), plan)
    weights = state_dict_of(content)
    _check_tensors(path, network.state_dict(), weights)
    network.load_state_dict(weights)
    return network


def carry_plan(
    state: Mapping[str, torch.Tensor], plan: Plan | None
) -> OrderedDict[str, torch.Tensor]:
    """A state dict that carries a plan, and that every tool loads as before.

    The plan stands in the `_metadata` attribute that state dicts have; torch.save keeps it, and
    torch.load with weights_only=True gives it back.

    Args:
        plan: None carries none.
    """
    carrying = OrderedDict(state)
    carrying._metadata = OrderedDict(getattr(state, "_metadata", {}))  # type: ignore[attr-defined]
    if plan is not None:
        carrying._metadata[CARRIED] = {  # type: ignore[attr-defined]
            "plan": plan.to_dict(),
            "fingerprint": plan.fingerprint,
        }
    return carrying


def carried_plan(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """{"plan", "fingerprint"} that a loaded checkpoint carries, or None."""
    held = getattr(state_dict_of(content), "_metadata", {}).get(CARRIED)
    return held if isinstance(held, dict) else None


def state_dict_of(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict in a checkpoint, which may be it, or hold it as other tools do."""
    for key in _HOLDERS:
        if isinstance(content.get(key), dict):
            return content[key]
    return content


def _check_tensors(path: Path, own: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    wrong = [key for key in own if key not in content] + [key for key in content if key not in own]
    other = [key for key in own if key in content and own[key].shape != content[key].shape]
    if not wrong and not other:
        return
    shapes = ""
    if other and not wrong:
        shapes = f" {tuple(content[other[0]].shape)} for {tuple(own[other[0]].shape)}"
    raise CheckpointError(
        f"{path}: made for another network; {len(wrong + other)} of its tensors do not fit, such "
        f"as {(wrong + other)[0]!r}{shapes}. Use the bundle (and its network settings) that "
        "trained it"
    )


def _check_plan(path: Path, carried: Mapping[str, Any] | None, plan: Plan) -> None:
    if carried is None or carried.get("fingerprint") == plan.fingerprint:
        return
    changed = plan_differences(carried.get("plan") or {}, plan)
    raise CheckpointError(
        f"{path}: trained with another plan: {'; '.join(changed) or 'an older form of it'}. Use "
        "the bundle that the training wrote (its output folder is one), or the same overrides"
    )
