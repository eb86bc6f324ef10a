"""Attention coefficients of a trained bundle's network over one scan, for display."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from ...data.dicom.series import DicomSeries
from ...data.geometry.affines import Affine
from ...transforms.restore.regions import region_bits, written_map
from .checkpoints import load_weights

_PLAINLY: dict[str, Any] = {
    "amp": False,  # for one picture: exact rather than fast
    "engine": "torch",
    "interpolate_probabilities": False,
    "thresholds": None,
    "coarse": None,
    "fit_region": False,
}
"""Settings under which maps beside the logits stay what they are."""


@dataclass(frozen=True, eq=False)
class Attention:
    """What the gates let pass, on the network's grid.

    Args:
        image: (X, Y, Z) float32, the scan as the network sees it, normalised.
        labels: (X, Y, Z) uint8, the network's own segmentation, at the threshold 0.5.
        coefficients: name of a skip's gates, the finest skip first -> (gates, X, Y, Z) float32 in
            0..1.
        affine: (4, 4) of these arrays, RAS+ mm.
        names: of the labels, the background first.
        values: of the foreground labels, where they are regions; else they are 1, 2, ...
    """

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    coefficients: dict[str, NDArray[np.float32]]
    affine: Affine
    names: tuple[str, ...] = ()
    values: tuple[int, ...] = ()


class _NoMapsError(Exception):
    """The network's attention is not over space."""


def attention_of(
    bundle_dir: str | Path, checkpoint: str | Path, scan: Path | list[Path] | DicomSeries
) -> Attention | None:
    """Run a bundle's network over a scan and keep the coefficients; None without maps over space.

    UCTransNet's maps are over channels.

    The windows are those of the bundle's inference, and the coefficients are blended as the logits
    are: a network that normalises by window would show other ones on the whole scan at once.

    Args:
        scan: an image file, one file per channel, or a DICOM series.

    Raises:
        CheckpointError: the weights are missing or another network's.
        ImageError: the scan cannot be read.
    """
    parser = _parser(Path(bundle_dir) / "configs")
    network = parser.get_parsed_content("network_def")
    attend: Callable[[torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]] | None
    attend = getattr(network, "attend", None)
    if attend is None:
        return None
    load_weights(network, checkpoint).eval()
    case: dict[str, Any] = parser.get_parsed_content("preprocessing")({"image": scan})
    image = case["image"]
    sizes: dict[str, int] = {}

    def both(window: torch.Tensor) -> torch.Tensor:
        logits, found = attend(window)
        maps = {
            name: values for name, values in found.items() if values.shape[2:] == window.shape[2:]
        }
        if not maps:
            raise _NoMapsError
        sizes.update(logits=logits.shape[1], **{name: maps[name].shape[1] for name in sorted(maps)})
        return torch.cat([logits, *(maps[name] for name in sorted(maps))], dim=1)

    try:
        with torch.inference_mode():
            blended = parser.get_parsed_content("inferer")(image.as_tensor()[None], both)[0]
    except _NoMapsError:
        return None
    logits, *maps = torch.split(blended, list(sizes.values()))
    values = parser.get_parsed_content("region_values")
    return Attention(
        image=np.asarray(image.as_tensor()[0], dtype=np.float32),
        labels=_labels(logits, values),
        coefficients={
            name: found.numpy() for name, found in zip(list(sizes)[1:], maps, strict=True)
        },
        affine=np.asarray(image.affine, dtype=np.float64),
        names=tuple(parser.get_parsed_content("labels")),
        values=tuple(values or ()),
    )


def _parser(configs: Path) -> ConfigParser:
    """The bundle's inference, see _PLAINLY."""
    parser = ConfigParser()
    parser.read_meta(str(configs / "metadata.json"))
    parser.read_config(str(configs / "inference.yaml"))
    for name, value in _PLAINLY.items():
        if name in parser:
            parser[name] = value
    return parser


def _labels(
    logits: torch.Tensor, region_values: Sequence[int] | None
) -> NDArray[np.unsignedinteger[Any]]:
    """The network's own segmentation, as the masks hold it, at the threshold 0.5."""
    if region_values is not None:
        return written_map(region_bits(logits, dim=0).numpy(), region_values)
    if len(logits) == 1:
        return (logits[0] > 0).to(torch.uint8).numpy()
    return logits.argmax(dim=0).to(torch.uint8).numpy()
