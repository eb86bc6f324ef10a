"""The network of nnU-Net's plans, in the plans' form of today and in the older one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....data.errors import ConfigError
from .....networks.nnunet import CLASSES, NNUNET

_PACKAGE = "dynamic_network_architectures"  # another's class of the same name may be another
_NORMS = {2: "InstanceNorm2d", 3: "InstanceNorm3d"}


def architecture(configuration: Mapping[str, Any], *, of: object) -> dict[str, Any]:
    """The architecture of a bundle, of a configuration of nnU-Net's plans.

    Args:
        configuration: with what it inherits.
        of: the plans' file, for the error's text.

    Raises:
        ConfigError: a network that is not known.
    """
    found = configuration.get("architecture")
    if found is None:
        found = _older(configuration, of)
    package, _, name = str(found.get("network_class_name", "")).rpartition(".")
    if name not in CLASSES or package.partition(".")[0] not in ("", _PACKAGE):
        raise ConfigError(
            f"{of}: the network {found.get('network_class_name')!r} is not one of "
            f"{', '.join(CLASSES)}; predict with nnU-Net itself"
        )
    options = {key: value for key, value in dict(found["arch_kwargs"]).items()}
    options.pop("deep_supervision", None)
    return {"name": NNUNET, "network": name, "options": options}


def _older(settings: Mapping[str, Any], of: object) -> dict[str, Any]:
    """The same of plans from before 2.3, which name a U-Net and its numbers."""
    name = settings.get("UNet_class_name")
    counts = {"PlainConvUNet": "n_conv_per_stage", "ResidualEncoderUNet": "n_blocks_per_stage"}
    if name not in counts:
        raise ConfigError(
            f"{of}: the network {name!r} is not one of {', '.join(CLASSES)}; predict with nnU-Net "
            "itself"
        )
    stages, dimensions = len(settings["n_conv_per_stage_encoder"]), len(settings["patch_size"])
    widest, first = settings["unet_max_num_features"], settings["UNet_base_num_features"]
    return {
        "network_class_name": name,
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [min(first * 2**stage, widest) for stage in range(stages)],
            "conv_op": f"torch.nn.Conv{dimensions}d",
            "kernel_sizes": settings["conv_kernel_sizes"],
            "strides": settings["pool_op_kernel_sizes"],
            counts[name]: settings["n_conv_per_stage_encoder"],
            "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.{_NORMS[dimensions]}",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    }
