"""Images without contrast, cut to a window, of eight bits, or in another unit than HU."""

from __future__ import annotations

from pathlib import Path

from ..findings import Finding
from ..intensities import Intensities, is_ct
from ..measures import CaseNumbers

_CUT_ABOVE, _CUT_BELOW = 2e-3, 0.02  # shares of voxels at a limit that tell of a cut
_LOW_HU, _HIGH_HU = -850.0, 900.0  # a cut inside of these loses what tissue shows
_MR_CUT = 0.01
_BEYOND_HU = 4200.0  # 12 bits end at 3071
_FEW_LEVELS = 257


def find(case: CaseNumbers) -> list[Finding]:
    """Findings about the intensities of a case's images."""
    found = []
    names = iter(case.job.channels)
    for number, file in enumerate(case.images):
        for channel in file.channels:
            numbers = {"lowest": channel.lowest, "highest": channel.highest}
            numbers |= {"levels": channel.levels, "file": number}
            found += _channel(case.id, file.path, channel, numbers, ct=is_ct(next(names)))
    return found


def _channel(
    case: str, path: Path, channel: Intensities, numbers: dict[str, float | int], *, ct: bool
) -> list[Finding]:
    span = f"{channel.lowest:.4g}..{channel.highest:.4g}"
    if channel.lowest == channel.highest:
        text = f"{path}: all voxels have the value {channel.lowest:.4g}; copy or convert it again"
        return [Finding("image-constant", "error", case, text, numbers)]
    if channel.hu is not None:
        return [_not_hu(case, path, channel, numbers)]
    if ct:
        return _ct(case, path, channel, span, numbers)
    if channel.stored in ("uint8", "int16", "int8") and channel.levels <= 256:
        full = channel.lowest == 0 and channel.highest == 255
        if full and channel.at_highest > 1e-4:
            text = (
                f"{path}: the values are whole and fill {span} exactly, as in an image saved with "
                "8 bits for display; use the original intensities"
            )
            return [Finding("image-8-bit", "warning", case, text, numbers)]
    if channel.at_highest > _MR_CUT:
        text = (
            f"{path}: {channel.at_highest:.1%} of the voxels have the highest value "
            f"{channel.highest:.4g}: the intensities were probably clipped; use the original"
        )
        return [Finding("image-clipped", "warning", case, text, numbers)]
    return []


def _ct(
    case: str, path: Path, channel: Intensities, span: str, numbers: dict[str, float | int]
) -> list[Finding]:
    if channel.levels < _FEW_LEVELS and channel.highest - channel.lowest > 2 * channel.levels:
        text = (
            f"{path}: only {channel.levels} different values in {span} HU, as in an image of 8 "
            "bits that was scaled back; use the original"
        )
        return [Finding("image-8-bit", "warning", case, text, numbers)]
    above = channel.highest < _HIGH_HU and channel.at_highest > _CUT_ABOVE
    below = channel.lowest > _LOW_HU and channel.at_lowest > _CUT_BELOW
    if above or below:
        share = channel.at_highest if above else channel.at_lowest
        text = (
            f"{path}: the values end at {span} HU, with {share:.1%} of the voxels at the limit: "
            "probably clipped to a window; use the original"
        )
        return [Finding("image-clipped", "warning", case, text, numbers)]
    if channel.highest > _BEYOND_HU:
        text = (
            f"{path}: intensities up to {channel.highest:.5g} HU; a scanner's 12 bits end at 3071: "
            "metal on an extended scale, or a wrong slope"
        )
        return [Finding("image-beyond-hu", "note", case, text, numbers)]
    return []


def _not_hu(
    case: str, path: Path, channel: Intensities, numbers: dict[str, float | int]
) -> Finding:
    assert channel.hu is not None
    text, kind = channel.hu.text, channel.hu.kind
    if kind == "offset":
        text += "; subtract it"
        return Finding("image-hu-offset", "error", case, f"{path}: {text}", numbers)
    if kind == "scaled":
        return Finding("image-scaled", "error", case, f"{path}: {text}; use the original", numbers)
    if kind == "picture":
        text += ": probably saved with 8 bits for display; use the original"
        return Finding("image-8-bit", "error", case, f"{path}: {text}", numbers)
    return Finding("image-not-hu", "error", case, f"{path}: {text}; use the original", numbers)
