"""How intensities are normalised."""

from __future__ import annotations

from typing import Any

from ....data.datasets.fingerprint.numbers import Fingerprint, Intensities
from ....data.datasets.soundness.intensities import is_ct
from .decision import Decision

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
    """Clip and z-score with the dataset's numbers for a CT, an image's own z-score for others."""
    each = [
        _of_ct(numbers) if is_ct(channel) else {"mode": "zscore"}
        for channel, numbers in zip(fingerprint.channels, fingerprint.intensities, strict=True)
    ]
    cts = [one for one in fingerprint.channels if is_ct(one)]
    reasons = []
    if cts:
        numbers = fingerprint.intensities[fingerprint.channels.index(cts[0])]
        reasons.append(
            f"HU mean the same in each scan: clipped to the 0.5 and 99.5 percentiles of the "
            f"labelled voxels ({numbers.low:.0f} to {numbers.high:.0f} HU), then minus their mean "
            "and by their standard deviation. A paper's HU window: --intensity '{mode: window, "
            "low: -175, high: 250}'"
        )
    if len(cts) < len(each):
        others = ", ".join(one for one in fingerprint.channels if not is_ct(one))
        reasons.append(
            f"{others}: each image by its own mean and standard deviation, as such values have no "
            "fixed unit"
        )
    alike = all(one == each[0] for one in each)
    value = each[0] if alike else {"mode": "per_channel", "channels": each}
    return Decision("intensity", value, ". ".join(reasons))


def _of_ct(numbers: Intensities) -> dict[str, Any]:
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
