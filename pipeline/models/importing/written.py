"""Writing the bundle of a model that another tool trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import torch

from ....data.errors import CheckpointError
from ....data.new_folder import new_folder
from ....transforms.intensity import intensity_transforms
from ....transforms.nnunet.preprocess import nnunet_preprocessing
from ...plans.plan import Plan, channel_count
from ...plans.writing import write_bundle
from ..build import build_network
from ..checkpoints import BEST, carry_plan
from ..writing_weights import save_checkpoint


def check_weights(
    plan: Plan, state: Mapping[str, torch.Tensor], *, of: Path, hint: str
) -> torch.nn.Module:
    """The plan's network with the weights, which are refused where they are not of it.

    Args:
        of: where the weights are from, for the error's text.
        hint: what may be the reason, and what to do.

    Raises:
        CheckpointError: they do not fit.
        ConfigError: the network cannot be made.
    """
    count = plan.output_channels or channel_count(plan.labels, plan.region_values)
    network = build_network(plan.network, in_channels=plan.channels, out_channels=count)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = shorten(" ".join(str(error).splitlines()[1:2]), 200, placeholder=" ...")
        raise CheckpointError(
            f"{of}: its weights are not of the network that is described there ({first}): {hint}"
        ) from error
    return network


def write_imported(plan: Plan, state: Mapping[str, torch.Tensor], output: str | Path) -> Path:
    """Write a bundle with its weights into a new folder; it is there complete, or not at all.

    Raises:
        ConfigError: the folder exists; intensities, or settings of nnU-Net, that cannot be.
        OutputError: it cannot be written.
    """
    if plan.nnunet is None:
        intensity_transforms(plan.intensity)
    else:
        nnunet_preprocessing(
            nnunet=plan.nnunet,
            intensity=plan.intensity,
            spacing=plan.spacing,
            parts=plan.parts,
            channels=plan.channels,
        )
    with new_folder(output) as work:
        write_bundle(plan, work, trained=True)
        (work / "models").mkdir()
        with open(work / "models" / BEST, "wb") as stream:
            save_checkpoint(carry_plan(state, plan), stream)
    return Path(output)
