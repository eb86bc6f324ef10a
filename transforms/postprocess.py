"""What follows the network: from scores to a label map in the scan's grid, and to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from monai.transforms import Compose

from ..data.errors import ConfigError
from .components import FillHolesd, LargestComponentd, SmallPiecesd
from .pieces import check_smallest_piece
from .restore.regions import check_region_values
from .restore.thresholds import check_thresholds
from .restore.transform import RestoreLabelsd
from .write.dicom_seg import WriteDicomSegd
from .write.labels import WriteLabelsd
from .write.levels import WriteLevelsd
from .write.probabilities import WriteProbabilitiesd
from .write.regions import WriteRegionsd


class Postprocessing(Compose):
    """A Compose in two parts, for whoever computes and writes different cases side by side.

    Called as any Compose it does both parts.

    Args:
        restore: from scores to the label map; see RestoreLabelsd for how to give it slab by slab.
        after: what is done with the label map: components, files.
    """

    def __init__(self, restore: RestoreLabelsd, after: Sequence[Callable[[Any], Any]] = ()) -> None:
        super().__init__([restore, *after])
        self.restore = restore
        self.after = Compose(list(after))

    def refuse_foreign(self, cases: Sequence[tuple[str, Any]]) -> None:
        """Refuse to write where a file that Gridgate did not write is in the place of a result.

        Args:
            cases: of each its id, and its image: a path or a DicomSeries.

        Raises:
            OutputError: there is one.
        """
        for transform in self._writers:
            transform.output.refuse_foreign(
                [file for case_id, image in cases for file in transform.files(case_id, image)]
            )

    def files(self, case_id: str, image: Any = None) -> list[Path]:
        """The files that a case's results are written to.

        Args:
            image: a path or a DicomSeries.
        """
        return [
            Path(transform.output.folder) / file
            for transform in self._writers
            for file in transform.files(case_id, image)
        ]

    @property
    def mask_writer(self) -> WriteLabelsd | None:
        """What writes the masks; None where nothing does."""
        return next((one for one in self._writers if isinstance(one, WriteLabelsd)), None)

    @property
    def changes(self) -> list[str]:
        """Names of the transforms that change the label map before it is written."""
        return [type(one).__name__ for one in self.after.transforms if one not in self._writers]

    @property
    def _writers(self) -> list[Any]:
        return [transform for transform in self.after.transforms if hasattr(transform, "files")]


def postprocessing(
    *,
    output_dir: str | PathLike[str] | None = None,
    labels: Sequence[str] = (),
    keep_largest: Sequence[int] | bool = False,
    smallest_piece: Mapping[str, float] | None = None,
    fill_holes: Sequence[int] | bool = False,
    probabilities: Sequence[str] = (),
    of_probabilities: bool = False,
    dicom_seg: bool = False,
    postfix: str = "",
    output_ext: str = ".nii.gz",
    terminology: Mapping[str, Any] | None = None,
    region_values: Sequence[int] | None = None,
    region_masks: bool = False,
    output_channels: int | None = None,
    thresholds: Sequence[float] | None = None,
    try_thresholds: Sequence[float] = (),
    part_values: Sequence[Sequence[int]] | None = None,
    max_slab_bytes: float = 256e6,
) -> Postprocessing:
    """Transforms from {"pred": scores, "image": MetaTensor} to {"pred": label map (1, X, Y, Z)}.

    Scores are a tensor (C, x, y, z) or ScoreSlabs. The order: RestoreLabelsd, LargestComponentd,
    SmallPiecesd, FillHolesd, WriteProbabilitiesd, WriteRegionsd, WriteDicomSegd, WriteLabelsd: the
    mask comes last, as a case is done when it is there.

    Args:
        output_dir: where <case id><postfix><output_ext> is written; None writes nothing.
        labels: names of the channels, the background first; needed for all that names them.
        keep_largest, fill_holes: True of each label, or the labels' channel indices.
        smallest_piece: label -> ml, see SmallPiecesd.
        probabilities: labels whose probability is written too.
        of_probabilities, part_values, max_slab_bytes: see RestoreLabelsd.
        dicom_seg: write DICOM SEG too where the case is a DICOM series.
        postfix, output_ext, terminology: see WriteLabelsd.
        region_values, region_masks: of labels that overlap, see Plan; write a mask of each too.
        output_channels, thresholds, try_thresholds: see check_thresholds, TriedRestoration.

    Raises:
        ConfigError: a label, a suffix or a terminology that there is not; masks per region without
            regions, or segments, which would not overlap, of regions; thresholds that cannot be.

    Example:
        >>> [type(one).__name__ for one in postprocessing(keep_largest=[1]).transforms]
        ['RestoreLabelsd', 'LargestComponentd']
    """
    channels, regions = _channels(probabilities, list(labels), region_values), region_values
    _check_regions(regions, labels, region_masks, dicom_seg, output_ext)
    _check_thresholds(output_channels, thresholds, try_thresholds, regions is not None)
    after = _components(keep_largest, smallest_piece, fill_holes, labels, regions)
    if output_dir is not None:
        named: dict[str, Any] = dict(labels=labels, terminology=terminology, output_dir=output_dir)
        after += _beside(list(channels), region_masks, bool(try_thresholds), dicom_seg, named)
        named |= {"postfix": postfix, "output_ext": output_ext, "values": regions}
        after.append(WriteLabelsd("pred", **named))
    told: dict[str, Any] = dict(of_probabilities=of_probabilities, max_slab_bytes=max_slab_bytes)
    told |= dict(thresholds=thresholds, tried=sorted(try_thresholds), labels=list(labels)[1:])
    told |= dict(part_values=part_values, region_values=regions, probabilities=channels)
    return Postprocessing(RestoreLabelsd("pred", **told), after)


def _beside(
    probabilities: Sequence[str],
    region_masks: bool,
    levels: bool,
    dicom_seg: bool,
    named: dict[str, Any],
) -> list[Callable[[Any], Any]]:
    """What writes the files beside the masks."""
    after: list[Callable[[Any], Any]] = []
    folder, labels = named["output_dir"], list(named["labels"])
    if probabilities:
        after.append(WriteProbabilitiesd("pred", output_dir=folder, labels=probabilities))
    if region_masks:
        after.append(WriteRegionsd("pred", output_dir=folder, labels=labels[1:]))
    if levels:
        after.append(WriteLevelsd("pred", output_dir=folder, labels=labels[1:]))
    if dicom_seg:
        after.append(WriteDicomSegd("pred", **named))
    return after


def _check_thresholds(
    channels: int | None, thresholds: Any, tried: Sequence[float], regions: bool
) -> None:
    if channels is not None:
        for given in (thresholds, *([one] * channels for one in tried)):
            check_thresholds(given, channels=channels, regions=regions)


def _check_regions(
    region_values: Sequence[int] | None,
    labels: Sequence[str],
    masks: bool,
    dicom_seg: bool,
    output_ext: str,
) -> None:
    if region_values is None:
        if masks:
            raise ConfigError(
                "region_masks: this bundle's labels do not overlap, so that its masks hold all of "
                "them; leave it out"
            )
        return
    if labels:
        check_region_values(region_values, list(labels)[1:])
    if dicom_seg or output_ext == ".seg.nrrd":
        which = "dicom_seg" if dicom_seg else f"output_ext {output_ext}"
        raise ConfigError(
            f"{which}: this bundle's labels are regions, which overlap, and a segment of the one "
            "map that is made of them lacks what later regions cover; write masks as .nii.gz, and "
            "a mask per region by --region_masks true"
        )


def _components(
    keep_largest: Sequence[int] | bool,
    smallest_piece: Mapping[str, float] | None,
    fill_holes: Sequence[int] | bool,
    labels: Sequence[str],
    region_values: Sequence[int] | None,
) -> list[Callable[[Any], Any]]:
    after: list[Callable[[Any], Any]] = []
    smallest = check_smallest_piece(smallest_piece, labels)
    for wanted, transform in ((keep_largest, LargestComponentd), (fill_holes, FillHolesd)):
        if transform is FillHolesd and smallest:
            after.append(SmallPiecesd("pred", smallest=smallest, region_values=region_values))
        if wanted is True:
            after.append(transform("pred", region_values=region_values))
        elif wanted:
            after.append(transform("pred", labels=list(wanted), region_values=region_values))
    return after


def _channels(
    probabilities: str | Sequence[str], labels: list[str], region_values: Sequence[int] | None
) -> dict[str, int]:
    """Label -> channel of those whose probability is asked for."""
    if region_values is not None:
        labels = ["", *labels[1:]]  # no channel is the background's
    probabilities = [probabilities] if isinstance(probabilities, str) else probabilities
    unknown = [name for name in probabilities if name not in labels]
    if unknown:
        raise ConfigError(
            f"probabilities: {unknown[0]!r} is no label; there are "
            f"{', '.join(filter(None, labels))}"
        )
    return {name: labels.index(name) for name in probabilities}
