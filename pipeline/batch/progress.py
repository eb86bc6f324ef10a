"""A bar over the cases of a run that moves with the windows of the cases in hand."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tqdm import tqdm

from .case import FAILED


class CaseProgress:
    """Cases done, windows of the case in hand, and an estimate of the time left.

    The estimate counts the cases in hand by their windows, so it moves within a long case too.

    Args:
        total: cases of this run.
    """

    def __init__(self, total: int) -> None:
        form = "{l_bar}{bar}| {n:.1f}/{total} [{elapsed}<{remaining}{postfix}]"
        self.bar: tqdm[Any] = tqdm(
            total=total, desc="cases", unit="case", bar_format=form, smoothing=0.1
        )
        self.failed = 0
        self.done = 0
        self.windows: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> CaseProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def report(self, kind: str, name: str, more: Any) -> None:
        """Show what happened; see pipelined.Report."""
        if kind == "windows":
            self.windows[name] = more
        elif kind == "done":
            self.windows.pop(name, None)
            self.done += 1
            if more.status == FAILED:
                self.failed += 1
                self.bar.write(f"{name}: {more.reason}")
        else:
            return
        self.bar.n = self.done + sum(done / max(1, total) for done, total in self.windows.values())
        parts = [
            f"{key} window {done}/{total}" for key, (done, total) in list(self.windows.items())[:2]
        ]
        if self.failed:
            parts.append(f"{self.failed} failed")
        self.bar.set_postfix_str(", ".join(parts), refresh=False)
        if kind == "done":
            self.bar.refresh()
        else:
            self.bar.update(0)
