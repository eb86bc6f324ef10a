"""A result folder of nnU-Net v2: its plans, its dataset and the checkpoints of its folds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .....data.errors import CheckpointError, ConfigError
from .checkpoint import NnunetCheckpoint, read_nnunet_checkpoint

FINAL = "checkpoint_final.pth"
_ALL = "fold_all"


@dataclass(frozen=True, eq=False)
class NnunetModel:
    """A trained model of nnU-Net.

    Args:
        folder: its result folder, <trainer>__<plans>__<configuration>.
        plans: of plans.json. dataset: of dataset.json.
        configuration: the name of the one it was trained in; settings: what the plans say of it,
            with what it inherits.
        folds: names of the folds' folders, and their checkpoints.
    """

    folder: Path
    plans: Mapping[str, Any]
    dataset: Mapping[str, Any]
    configuration: str
    settings: Mapping[str, Any]
    folds: Mapping[str, NnunetCheckpoint]

    @property
    def first(self) -> NnunetCheckpoint:
        """The checkpoint that says how it is run, as in nnU-Net."""
        return next(iter(self.folds.values()))

    @property
    def channels(self) -> dict[int, str]:
        """The names of the image's channels."""
        named = self.dataset.get("channel_names") or self.dataset.get("modality") or {}
        keys = sorted(named, key=int) if all(map(str.isdecimal, map(str, named))) else list(named)
        return {number: str(named[key]) for number, key in enumerate(keys)}


def read_nnunet_model(
    folder: str | Path, *, folds: Sequence[str] | None = None, checkpoint: str = FINAL
) -> NnunetModel:
    """Read a result folder.

    Args:
        folder: with plans.json and fold_x, or the folder of a dataset that holds one such.
        folds: of them, as "0" or "all"; None: all that have the checkpoint, "all" only where it is
            the only one.
        checkpoint: the file's name.

    Raises:
        ConfigError: no such folder, or one of another version; a configuration that is not run
            here.
        CheckpointError: a fold is missing, cannot be read, or is of another configuration.
    """
    place = _result_folder(Path(folder))
    plans, dataset = _json(place / "plans.json"), _json(place / "dataset.json")
    found: dict[str, NnunetCheckpoint] = {}
    for fold in _folds(place, folds, checkpoint):
        found[fold] = read_nnunet_checkpoint(place / fold / checkpoint)
    names = {one.configuration for one in found.values()}
    if len(names) > 1:
        raise CheckpointError(f"{place}: its folds are of several configurations, {sorted(names)}")
    name = next(iter(names))
    return NnunetModel(place, plans, dataset, name, _settings(plans, name, place), found)


def _result_folder(folder: Path) -> Path:
    if (folder / "plans.json").is_file():
        return folder
    if list(folder.glob("plans.pkl")) or list(folder.glob("*/plans.pkl")):
        raise ConfigError(
            f"{folder}: a model of nnU-Net v1 (plans.pkl); only those of v2 are imported: predict "
            "with nnU-Net v1, or train with v2"
        )
    inside = sorted(path.parent for path in folder.glob("*/plans.json"))
    runnable = [path for path in inside if "3d" in path.name and "cascade" not in path.name]
    if len(runnable) == 1:
        return runnable[0]
    if folder.is_file():
        raise ConfigError(
            f"{folder}: is no network's file that is known; TorchScript (.ts, .pt, .pth, .jit) or "
            "ONNX (.onnx), one by itself, is wanted, or the folder of a model"
        )
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder")
    if not inside:
        raise ConfigError(
            f"{folder}: no result folder of nnU-Net v2: plans.json, dataset.json and fold_0 are "
            "wanted, as in nnUNet_results/Dataset001_Name/nnUNetTrainer__nnUNetPlans__3d_fullres"
        )
    listed = ", ".join(path.name for path in inside)
    raise ConfigError(f"{folder}: holds several models; give one of them: {listed}")


def _folds(place: Path, wanted: Sequence[str] | None, checkpoint: str) -> list[str]:
    if wanted is not None:
        return [f"fold_{str(fold).removeprefix('fold_')}" for fold in wanted]
    found = sorted(path.parent.name for path in place.glob(f"fold_*/{checkpoint}"))
    if not found:
        others = sorted({path.name for path in place.glob("fold_*/checkpoint_*.pth")})
        told = f"; there are {', '.join(others)}: give --checkpoint" if others else ""
        raise CheckpointError(f"{place}: no fold_x holds a {checkpoint}{told}")
    return [fold for fold in found if fold != _ALL] or found


def _settings(plans: Mapping[str, Any], name: str, place: Path) -> dict[str, Any]:
    """A configuration with what it inherits."""
    known = plans.get("configurations") or {}
    chain: list[str] = []
    here: str | None = name
    while here is not None:
        if here not in known or here in chain:
            raise ConfigError(f"{place}/plans.json: holds no sound configuration {here!r}")
        chain.append(here)
        here = known[here].get("inherits_from")
    merged: dict[str, Any] = {}
    for one in reversed(chain):
        merged |= known[one]
    return merged


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: a mapping is wanted")
    return found
