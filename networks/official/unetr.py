"""UNETR (arXiv 2103.10504): the authors' keys are MONAI's, but for what MONAI added since."""

from collections.abc import Mapping

import torch
from torch import Tensor

_CROSS = ".norm_cross_attn."


def rename(state_dict: Mapping[str, Tensor], **options: object) -> dict[str, Tensor]:
    """The same keys, and initial weights for the norms of a cross-attention that UNETR never uses.

    MONAI has registered these in each block since; releases of before lack them.

    Args:
        options: those of the network; none changes a name.
    """
    renamed = dict(state_dict)
    for key, value in state_dict.items():
        if key.startswith("vit.blocks.") and ".norm1." in key:
            unused = torch.ones_like(value) if key.endswith("weight") else torch.zeros_like(value)
            renamed.setdefault(key.replace(".norm1.", _CROSS), unused)
    return renamed
