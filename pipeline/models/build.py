"""Making a plan's network and putting it on its device."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...data.errors import CheckpointError, ConfigError
from ...networks import build_for_volumes
from ...networks.network_file import FILE, FileNetwork
from ...networks.nnunet import NNUNET, nnunet_network
from ...networks.pretrained import load_resnet, load_vit
from ...networks.slices import network_of_slices
from ..config.twins import check_twins
from .checkpoints import load_checkpoint, load_weights
from .devices import choose_device
from .ensemble import ENSEMBLE, MEANS, EnsembleNetwork
from .parts import PARTS, PartsNetwork

logger = logging.getLogger(__name__)

_NO_MEMORY = "CUDA error: out of memory"  # a GPU that is too full to begin with


def build_network(
    architecture: Mapping[str, Any],
    *,
    in_channels: int,
    out_channels: int,
    bundle_root: str | Path | None = None,
) -> torch.nn.Module:
    """The network that a plan names, with initial weights.

    Args:
        architecture: its "name" in networks.registry, and options of it; "spatial_dims" 2 for a 2D
            network, slice by slice. Or the name "ensemble", with "members", an architecture each,
            "regions" where channels overlap, and "mean": see EnsembleNetwork. Or the name "nnunet",
            see networks.nnunet.nnunet_network. Or the name "file", see networks.FileNetwork. Or the
            name "parts", with "members", of each its "architecture" and "out_channels": see
            PartsNetwork.
        bundle_root: folder of the bundle that asks for it: its YAML and JSON configs must agree,
            see config.twins. JSON configs give it, as every tool that reads them makes the network.

    Raises:
        ConfigError: no mapping with a name; no such network or option, or a value that it refuses.
    """
    if bundle_root is not None:
        check_twins(bundle_root)
    if not isinstance(architecture, Mapping) or "name" not in architecture:
        raise ConfigError(
            f"architecture {architecture}: a mapping with a network's name is wanted, as "
            "'{name: unet, feature_scale: 8}'"
        )
    if architecture["name"] == ENSEMBLE:
        return _ensemble(architecture, in_channels=in_channels, out_channels=out_channels)
    if architecture["name"] == PARTS:
        members = architecture.get("members", [])
        return PartsNetwork(build_network(**member, in_channels=in_channels) for member in members)
    make = nnunet_network if architecture["name"] == NNUNET else build_for_volumes
    try:
        if architecture["name"] == FILE:
            return FileNetwork(**{key: architecture[key] for key in architecture if key != "name"})
        network = make(**architecture, in_channels=in_channels, out_channels=out_channels)
    except ImportError as error:
        raise ConfigError(str(error)) from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"architecture {dict(architecture)}: {error}") from error
    return _channels_innermost(network)


def _ensemble(
    architecture: Mapping[str, Any], *, in_channels: int, out_channels: int
) -> EnsembleNetwork:
    members, regions = architecture.get("members"), architecture.get("regions", False)
    known = {"name", "members", "regions", "mean"}
    if set(architecture) - known or not isinstance(members, list):
        raise ConfigError(
            f"architecture {dict(architecture)}: an ensemble has members, a list of architectures, "
            "regions, true or false, and mean, probabilities or logits"
        )
    channels: dict[str, Any] = {"in_channels": in_channels, "out_channels": out_channels}
    networks = [build_network(member, **channels) for member in members]
    try:
        return EnsembleNetwork(
            networks, regions=bool(regions), mean=architecture.get("mean", MEANS[0])
        )
    except ValueError as error:
        raise ConfigError(f"architecture {dict(architecture)}: {error}") from error


def head_weights(network: torch.nn.Module) -> list[float] | None:
    """The weights in the loss of the heads of a network with deep supervision; None for one."""
    weights = list(getattr(network, "head_weights", ()))
    return weights if len(weights) > 1 else None


def load_encoders(network: torch.nn.Module, encoders: Mapping[str, str | Path]) -> torch.nn.Module:
    """Put 2D encoders, trained on images, into a network that has such (TransFuse).

    They are inflated where the network is 3D.

    Args:
        encoders: {"resnet": FILE, "vit": FILE}, one or both: state dicts in torchvision's and
            timm's naming.

    Raises:
        ConfigError: no mapping, another key, or the network has no such encoder.
        CheckpointError: a file is missing, or is not that of such a network.
    """
    loaders = {"resnet": ("trunk", load_resnet), "vit": ("transformer", load_vit)}
    if not isinstance(encoders, Mapping):
        raise ConfigError(
            f"pretrained_encoders {encoders}: '{{resnet: FILE, vit: FILE}}' is wanted, one or both"
        )
    for kind, file in encoders.items():
        if kind not in loaders:
            raise ConfigError(f"pretrained_encoders: {kind!r} is not one of {', '.join(loaders)}")
        part, load = loaders[kind]
        encoder = getattr(network_of_slices(network), part, None)
        if encoder is None:
            raise ConfigError(
                f"pretrained_encoders: {type(network_of_slices(network)).__name__} has no {kind}; "
                "TransFuse has"
            )
        if not Path(file).is_file():
            raise CheckpointError(f"pretrained_encoders: there is no such file as {file}")
        weights = load_checkpoint(file)
        try:
            loaded = load(encoder, weights)  # type: ignore[operator]
        except ValueError as error:
            raise CheckpointError(
                f"{file}: {error} Bundles of --size paper have the published encoders' widths"
            ) from error
        logger.info("%s: %d tensors taken, %d left", file, len(loaded.loaded), len(loaded.dropped))
    return network


def to_device(
    network: torch.nn.Module,
    device: str | torch.device,
    *,
    weights: str | Path | None = None,
    encoders: Mapping[str, str | Path] | None = None,
) -> torch.nn.Module:
    """The network on a device, channels innermost in memory, with weights where given.

    Args:
        encoders: see load_encoders.

    Raises:
        CheckpointError: the checkpoint is missing or belongs to another network.
        ConfigError: both are given, see load_encoders, or the device has no memory for it.
    """
    if encoders and weights is not None:
        raise ConfigError(
            "pretrained and pretrained_encoders: give one, as the checkpoint has encoders of its "
            "own"
        )
    if encoders:
        load_encoders(network, encoders)
    if weights is not None:
        load_weights(network, weights)
    chosen = choose_device(device)
    try:
        return _channels_innermost(network).to(chosen)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _NO_MEMORY not in str(error):
            raise
        size = sum(one.nbytes for one in (*network.parameters(), *network.buffers()))
        raise ConfigError(
            f"--device {chosen}: out of memory, before anything is computed: the network's weights "
            f"alone take {size / 1e9:.2g} GB, and less is free there; end what else runs on it "
            "(nvidia-smi names it), or give another --device, or a smaller network"
        ) from error


def _channels_innermost(network: torch.nn.Module) -> torch.nn.Module:
    """The network itself, its kernels laid out so.

    Already when it is made, as oneDNN rounds otherwise in another layout: tools that put it on its
    device themselves get the same labels, to the last voxel.
    """
    is_3d = any(parameter.ndim == 5 for parameter in network.parameters())
    for parameter in network.parameters():
        if parameter.ndim == (5 if is_3d else 4):
            layout = torch.channels_last_3d if is_3d else torch.channels_last
            parameter.data = parameter.data.contiguous(memory_format=layout)
    return network
