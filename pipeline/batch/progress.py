"""How far a run over cases is; it moves with the windows of the cases in hand."""

from __future__ import annotations

from typing import Any

from ...data.progress import Progress
from .results.case_result import FAILED


class CaseProgress(Progress):
    """Cases done, windows of the case in hand, and an estimate of the time left.

    The estimate counts the cases in hand by their windows, so it moves within a long case too.

    Args:
        total: cases of this run.
    """

    def __init__(self, total: int) -> None:
        super().__init__(total, "cases", fractions=True)
        self.failed = 0
        self.ended = 0
        self.windows: dict[str, tuple[int, int]] = {}

    def report(self, kind: str, name: str, more: Any) -> None:
        """Show what happened; see pipelined.Report."""
        if kind == "windows":
            self.windows[name] = more
        elif kind == "done":
            self.windows.pop(name, None)
            self.ended += 1
            self.failed += more.status == FAILED
        else:
            return
        parts = [
            f"{key} window {done}/{total}" for key, (done, total) in list(self.windows.items())[:2]
        ]
        if self.failed:
            parts.append(f"{self.failed} failed")
        shares = sum(done / max(1, total) for done, total in self.windows.values())
        self.move(self.ended + shares, note=", ".join(parts))
