"""What follows the network: from scores to a label map in the scan's grid, and to files."""

from collections.abc import Callable, Sequence
from os import PathLike

from monai.transforms import Compose

from ..data.errors import ConfigError
from .components import FillHolesd, LargestComponentd
from .restore.transform import RestoreLabelsd
from .write.dicom_seg import WriteDicomSegd
from .write.labels import WriteLabelsd
from .write.probabilities import WriteProbabilitiesd


def postprocessing(
    *,
    output_dir: str | PathLike[str] | None = None,
    labels: Sequence[str] = (),
    label_values: Sequence[int] | None = None,
    keep_largest: Sequence[int] | bool = False,
    fill_holes: Sequence[int] | bool = False,
    probabilities: Sequence[str] = (),
    dicom_seg: bool = False,
    postfix: str = "",
    max_slab_bytes: float = 256e6,
) -> Compose:
    """Transforms from {"pred": scores, "image": MetaTensor} to {"pred": label map (1, X, Y, Z)}.

    Scores are logits (C, x, y, z) or ScoreSlabs. The order: RestoreLabelsd, LargestComponentd,
    FillHolesd, WriteProbabilitiesd, WriteDicomSegd, WriteLabelsd: the mask comes last, as a case is
    done when it is there.

    Args:
        output_dir: where <case id>.nii.gz is written; None writes nothing.
        labels: names of the channels, the background first; needed for probabilities and DICOM SEG.
        label_values: value of each channel in the map; None: the channel's index.
        keep_largest, fill_holes: True for each label, or the label values (as written) this is done
            to.
        probabilities: labels whose probability is written too.
        dicom_seg: write DICOM SEG too where the case is a DICOM series.
        postfix: see WriteLabelsd.
        max_slab_bytes: bound on the temporary arrays, see restore_labels.

    Raises:
        ConfigError: a probability of no label is asked for.
    """
    unknown = [name for name in probabilities if name not in labels]
    if unknown:
        raise ConfigError(
            f"probabilities: {unknown[0]!r} is no label; there are {', '.join(labels)}"
        )
    channels = {name: list(labels).index(name) for name in probabilities}
    transforms: list[Callable] = [
        RestoreLabelsd(
            "pred", label_values=label_values, probabilities=channels, max_slab_bytes=max_slab_bytes
        )
    ]
    for wanted, transform in ((keep_largest, LargestComponentd), (fill_holes, FillHolesd)):
        if wanted is True:
            transforms.append(transform("pred"))
        elif wanted:
            transforms.append(transform("pred", labels=list(wanted)))
    if output_dir is not None:
        if probabilities:
            transforms.append(WriteProbabilitiesd("pred", output_dir=output_dir))
        if dicom_seg:
            transforms.append(WriteDicomSegd("pred", output_dir=output_dir, labels=labels))
        transforms.append(WriteLabelsd("pred", output_dir=output_dir, postfix=postfix))
    return Compose(transforms)
