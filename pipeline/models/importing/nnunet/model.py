"""A bundle of a result folder of nnU-Net, or of several, whose masks are merged."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .....data.new_folder import refuse_existing
from ....plans.plan import Plan
from ..written import check_weights, write_imported
from .folder import FINAL, NnunetModel, read_nnunet_model
from .plan import nnunet_plan
from .whole import whole_plan


@dataclass(frozen=True)
class NnunetOptions:
    """How a model of nnU-Net is imported.

    Args:
        folds: see read_nnunet_model. checkpoint: the file's name in each fold.
        orientation, mirroring, fast_resampling: see nnunet_plan.
    """

    folds: Sequence[str] | None = None
    checkpoint: str = FINAL
    orientation: str | None = None
    mirroring: bool = True
    fast_resampling: bool = False


def import_nnunet(
    source: str | Path, output: str | Path, options: NnunetOptions | None = None
) -> Path:
    """Write the bundle of a result folder of nnU-Net v2; it is there complete, or not at all.

    Args:
        source: see read_nnunet_model.
        output: new folder.
        options: None has the defaults.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder exists; something that is not run here, or a package is missing.
        CheckpointError: weights that cannot be read, or do not fit the plans' network.
        OutputError: it cannot be written.
    """
    refuse_existing(output)
    plan, state = _read(source, Path(output).resolve().name, options or NnunetOptions())
    return write_imported(plan, state, output)


def import_parts(
    sources: Sequence[str | Path],
    output: str | Path,
    options: NnunetOptions | None = None,
    *,
    names: Mapping[str, int] | None = None,
) -> Path:
    """Write one bundle of several result folders: run one after another, with one merged mask.

    Where two find something, the later one's label stays, as in TotalSegmentator.

    Args:
        sources: see read_nnunet_model; in their order.
        output, options: see import_nnunet.
        names: label of the whole -> value, 1, 2, ... without gaps; None: the labels of the parts in
            their order, each name once.

    Returns:
        The folder.

    Raises:
        ConfigError, CheckpointError, OutputError: see import_nnunet; parts of several channels or
            with regions; a part's label that is not among the names.
    """
    refuse_existing(output)
    name, options = Path(output).resolve().name, options or NnunetOptions()
    read = [_read(source, name, options) for source in sources]
    plan = whole_plan([plan for plan, _ in read], list(sources), names)
    state = OrderedDict(
        (f"networks.{number}.{key}", tensor)
        for number, (_, weights) in enumerate(read)
        for key, tensor in weights.items()
    )
    return write_imported(plan, state, output)


def _read(
    source: str | Path, name: str, options: NnunetOptions
) -> tuple[Plan, OrderedDict[str, torch.Tensor]]:
    """The plan and the weights of a result folder, which fit each other."""
    model = read_nnunet_model(source, folds=options.folds, checkpoint=options.checkpoint)
    plan = nnunet_plan(
        model,
        name,
        orientation=options.orientation,
        mirroring=options.mirroring,
        fast_resampling=options.fast_resampling,
    )
    state = _weights(model)
    check_weights(
        plan,
        state,
        of=model.folder,
        hint="a trainer of its own may have built another; predict with nnU-Net itself",
    )
    return plan, state


def _weights(model: NnunetModel) -> OrderedDict[str, torch.Tensor]:
    folds = list(model.folds.values())
    if len(folds) == 1:
        return OrderedDict(folds[0].weights)
    return OrderedDict(
        (f"networks.{number}.{name}", tensor)
        for number, fold in enumerate(folds)
        for name, tensor in fold.weights.items()
    )
