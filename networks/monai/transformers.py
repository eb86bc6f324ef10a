"""MONAI's own networks with transformers, with defaults where MONAI asks for arguments.

Any option of MONAI's class is taken and handed on, and state-dict keys are MONAI's. Sizes must be
multiples of ``divisor``: unlike the networks that are written here these pad nothing (UNETR
excepted).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.networks import nets
from torch import nn
from torch.overrides import TorchFunctionMode

from ..facts import NetworkFacts, Tiny, described
from ..unetr import FACTS as UNETR_FACTS
from ..unetr import AnyWindowUNETR
from .contract import contracted, hands_on_to


class _StepsOnCPU(TorchFunctionMode):
    """Numbers that MONAI reads out of a linspace stay on the CPU.

    On the meta device, where networks are counted, they could not be read.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.linspace:
            options.setdefault("device", "cpu")
        return func(*args, **options)


@described(
    NetworkFacts(
        title="MONAI's SwinUNETR",
        reference="Hatamizadeh et al. Swin UNETR: Swin Transformers for Semantic Segmentation of "
        "Brain Tumors in MRI Images. 2022. arXiv:2201.01266",
        small={"feature_size": 12},
        training={"learning_rate": 0.0005},
        tiny=Tiny(
            {
                "feature_size": 12,
                "depths": (1, 1, 1, 1),
                "num_heads": (1, 1, 2, 2),
                "window_size": 4,
            },
            window=(64, 32, 32),
            other=(32, 32, 64),
            cases=1,
        ),
    )
)
@hands_on_to(nets.SwinUNETR)
def swin_unetr(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    feature_size: int = 48,
    patch_size: int = 2,
    **options: Any,
) -> nn.Module:
    """MONAI's Swin UNETR (Hatamizadeh et al. 2022, arXiv 2201.01266), at the paper's width.

    In training the window needs two or more times ``divisor`` along one axis: the instance norm of
    the coarsest level has a single value otherwise.

    Args:
        feature_size: channels of the finest level, a multiple of 12; paper: 48.
        patch_size: voxels per axis of one token.
        options: MONAI's.
    """
    with _StepsOnCPU():
        net = nets.SwinUNETR(
            in_channels,
            out_channels,
            patch_size,
            feature_size=feature_size,
            spatial_dims=spatial_dims,
            **options,
        )
    return contracted(net, (patch_size**5,) * spatial_dims)


@described(
    NetworkFacts(
        title="MONAI's UNETR",
        reference=UNETR_FACTS.reference,
        paper={"proj_type": "perceptron"},
        small=UNETR_FACTS.small,
        training=UNETR_FACTS.training,
        tiny=UNETR_FACTS.tiny,
    )
)
@hands_on_to(nets.UNETR)
def monai_unetr(
    spatial_dims: int = 3,
    in_channels: int = 1,
    out_channels: int = 2,
    *,
    img_size: int | Sequence[int] = 96,
    **options: Any,
) -> AnyWindowUNETR:
    """MONAI's UNETR with MONAI's defaults (patches by convolution); ``unetr`` has the paper's.

    Args:
        img_size: voxels of the training window, one number or one per axis, multiples of 16.
        options: MONAI's.
    """
    return AnyWindowUNETR(in_channels, out_channels, img_size, spatial_dims=spatial_dims, **options)
