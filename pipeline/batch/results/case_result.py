"""What became of a case: its row of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .volumes import LabelVolume

if TYPE_CHECKING:  # a worker process imports PyTorch when it gets what it needs it for
    from ....transforms.restore.slabs import ForwardFacts

DONE, FAILED, PASSED_OVER = "ok", "failed", "passed over"
STAGES = ("read", "resample", "forward", "restore", "write")


@dataclass(eq=False)
class CaseResult:
    """What became of a case: its row of the table.

    Args:
        case: its id.
        input: see `Case.source`.
        status: DONE or FAILED.
        output: the mask, relative to the output folder.
        reason: why it failed.
        hints: at what looks wrong with the mask.
        notes: what was odd about the input.
        dicom_seg_reason: why there is a mask, but no DICOM SEG.
        seconds: by stage.
        volumes: of each foreground label.
        margin: mean margin of the best label at borders, 0 to 1.
        stops_the_run: no other case can be written either: the disk is full, say.
    """

    case: str
    input: str
    status: str = DONE
    output: str = ""
    reason: str = ""
    hints: tuple[str, ...] = ()
    notes: str = ""
    dicom_seg_reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    volumes: tuple[LabelVolume, ...] = ()
    margin: float | None = None
    forward: ForwardFacts | None = None
    stops_the_run: bool = False

    def row(self) -> dict[str, Any]:
        """Column -> value, as in cases.csv; what is not known is left out."""
        facts = self.forward
        row: dict[str, Any] = {
            "case": self.case,
            "input": self.input,
            "output": self.output,
            "status": self.status,
            "reason": self.reason,
            "notes": self.notes,
            "dicom_seg_reason": self.dicom_seg_reason,
            **{f"{name}_s": f"{self.seconds[name]:.3f}" for name in STAGES if name in self.seconds},
            "total_s": f"{sum(self.seconds.get(name, 0.0) for name in STAGES):.3f}",
        }
        if self.status != DONE:
            return row
        row |= {"hints": "; ".join(self.hints), "hint_count": len(self.hints)}
        row["margin"] = _decimals(self.margin)
        if facts is not None:
            row["network_s"] = _decimals(facts.network_seconds)
            row["mirror_agreement"] = _decimals(facts.mirror_agreement)
            row["windows"], row["windows_skipped"] = facts.windows, facts.windows_skipped
            row["engine"] = facts.engine
        for volume in self.volumes:
            row[f"{volume.name}_voxels"] = volume.voxels
            row[f"{volume.name}_ml"] = round(volume.ml, 3)
            row[f"{volume.name}_hu"] = "" if volume.mean is None else round(volume.mean, 2)
        return row


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
