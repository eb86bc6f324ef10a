"""How intensities are normalised."""

from __future__ import annotations

from typing import Any

from ....data.datasets.fingerprint.numbers import Fingerprint, Intensities
from ....data.datasets.soundness.intensities import is_ct
from .decision import Decision

_BONE = 400.0  # HU; what is denser is bone, contrast agent or metal
_SOFT_TISSUE = -200.0  # HU; below fat, above lung
_MR = ("mr", "t1", "t2", "flair", "adc", "dwi", "pd", "swi", "bold", "dixon")


def decide_modality(fingerprint: Fingerprint) -> Decision:
    """CT, MR, or None where the channels' names do not say."""
    names = ", ".join(fingerprint.channels)
    if all(is_ct(channel) for channel in fingerprint.channels):
        return Decision("modality", "CT", f"dataset.json calls the channels {names}")
    if all(channel.strip().lower().startswith(_MR) for channel in fingerprint.channels):
        return Decision("modality", "MR", f"dataset.json calls the channels {names}")
    return Decision(
        "modality", None, f"dataset.json calls the channels {names}, which is neither CT nor MR"
    )


def decide_intensity(fingerprint: Fingerprint) -> Decision:
    """Clip and z-score with the dataset's numbers for a CT, an image's own z-score for others.

    nnU-Net's rule (Isensee et al. 2021), but for CTs in which bone is one label among soft tissue:
    there its percentiles reach far into bone, and leave soft tissue little contrast.
    """
    each = [
        _of_ct(numbers) if is_ct(channel) else {"mode": "zscore"}
        for channel, numbers in zip(fingerprint.channels, fingerprint.intensities, strict=True)
    ]
    cts = [one for one in fingerprint.channels if is_ct(one)]
    reasons = []
    if cts:
        numbers = fingerprint.intensities[fingerprint.channels.index(cts[0])]
        reasons.append(f"HU mean the same in each scan: {_why(numbers)}")
    if len(cts) < len(each):
        others = ", ".join(one for one in fingerprint.channels if not is_ct(one))
        reasons.append(
            f"{others}: each image by its own mean and standard deviation, as such values have no "
            "fixed unit"
        )
    alike = all(one == each[0] for one in each)
    value = each[0] if alike else {"mode": "per_channel", "channels": each}
    return Decision("intensity", value, ". ".join(reasons))


def _why(numbers: Intensities) -> str:
    between = f"{numbers.low:.0f} to {numbers.high:.0f} HU"
    if _bone_is_one_of_several(numbers):
        window, bone = _of_ct(numbers), _dense(numbers)[0]
        return (
            f"a window from {window['low']:.0f} to {window['high']:.0f} HU, as {bone} is the only "
            f"dense label. The 0.5 and 99.5 percentiles of the labelled voxels "
            f"({between}) would leave the others little contrast"
        )
    return (
        f"clipped to the 0.5 and 99.5 percentiles of the labelled voxels ({between}), then minus "
        "their mean and by their standard deviation. A paper's HU window: --intensity '{mode: "
        "window, low: -175, high: 250}'"
    )


def _dense(numbers: Intensities) -> list[str]:
    return [name for name, median in numbers.labels.items() if median > _BONE]


def _bone_is_one_of_several(numbers: Intensities) -> bool:
    """Two dense labels may differ in their density alone, as teeth and jaw do."""
    return numbers.high > _BONE and len(_dense(numbers)) == 1 and len(numbers.labels) > 1


def _of_ct(numbers: Intensities) -> dict[str, Any]:
    if _bone_is_one_of_several(numbers):
        return {"mode": "window", "low": min(_SOFT_TISSUE, round(numbers.low)), "high": _BONE}
    return {
        "mode": "ct_zscore",
        "low": round(numbers.low, 1),
        "high": round(max(numbers.high, numbers.low + 1), 1),
        "mean": round(numbers.mean, 2),
        "std": round(max(numbers.std, 1e-2), 2),
    }


def decide_body_threshold(fingerprint: Fingerprint) -> Decision:
    """The HU below which a window is air, for CT."""
    if decide_modality(fingerprint).value == "CT":
        return Decision(
            "body_threshold", -500, "windows without anything denser than -500 HU are air"
        )
    return Decision("body_threshold", None, "only the HU of a CT say what is air")
