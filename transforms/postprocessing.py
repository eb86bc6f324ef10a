"""What follows the network: from logits to a label map in the scan's grid, and to a file."""

from collections.abc import Callable, Sequence
from os import PathLike

from monai.transforms import Compose

from .components import FillHolesd, LargestComponentd
from .restore import RestoreLabelsd
from .write import WriteLabelsd


def postprocessing(
    *,
    output_dir: str | PathLike[str] | None = None,
    label_values: Sequence[int] | None = None,
    keep_largest: Sequence[int] | bool = False,
    fill_holes: Sequence[int] | bool = False,
    postfix: str = "",
    max_slab_bytes: float = 256e6,
) -> Compose:
    """Transforms from {"pred": logits (C, x, y, z), "image": MetaTensor} to {"pred": label map (1, X, Y, Z)}.

    The order: RestoreLabelsd, LargestComponentd, FillHolesd, WriteLabelsd.

    Args:
        output_dir: where <case id>.nii.gz is written; None writes nothing.
        label_values: value of each channel in the map; None: the channel's index.
        keep_largest, fill_holes: True for each label, or the label values (as written) this is done to.
        postfix: see WriteLabelsd.
        max_slab_bytes: bound on the temporary arrays, see restore_labels.
    """
    transforms: list[Callable] = [RestoreLabelsd("pred", label_values=label_values, max_slab_bytes=max_slab_bytes)]
    for wanted, transform in ((keep_largest, LargestComponentd), (fill_holes, FillHolesd)):
        if wanted is True:
            transforms.append(transform("pred"))
        elif wanted:
            transforms.append(transform("pred", labels=list(wanted)))
    if output_dir is not None:
        transforms.append(WriteLabelsd("pred", output_dir=output_dir, postfix=postfix))
    return Compose(transforms)
