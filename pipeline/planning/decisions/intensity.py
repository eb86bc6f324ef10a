"""How intensities are normalised."""

from __future__ import annotations

from ....data.datasets.fingerprint.numbers import Fingerprint
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
    """Clip and z-score with the dataset's numbers for CT, else each image's own z-score."""
    if decide_modality(fingerprint).value == "CT" and len(fingerprint.channels) == 1:
        found = fingerprint.intensities[0]
        value = {
            "mode": "ct_zscore",
            "low": round(found.low, 1),
            "high": round(found.high, 1),
            "mean": round(found.mean, 2),
            "std": round(max(found.std, 1e-3), 2),
        }
        reason = (
            f"HU mean the same in each scan: clipped to the 0.5 and 99.5 percentiles of the "
            f"labelled voxels ({found.low:.0f} to {found.high:.0f} HU), then minus their mean and "
            "by their standard deviation. A paper's HU window: --intensity '{mode: window, low: "
            "-175, high: 250}'"
        )
        return Decision("intensity", value, reason)
    why = "each image and channel by its own mean and standard deviation"
    if any(is_ct(channel) for channel in fingerprint.channels):
        why += ", the CT among the channels too, as one rule holds for all of them"
    else:
        why += ": the values of such scans have no fixed unit"
    return Decision("intensity", {"mode": "zscore"}, why)


def decide_body_threshold(fingerprint: Fingerprint) -> Decision:
    """The HU below which a window is air, for CT."""
    if decide_modality(fingerprint).value == "CT":
        return Decision(
            "body_threshold", -500, "windows without anything denser than -500 HU are air"
        )
    return Decision("body_threshold", None, "only the HU of a CT say what is air")
