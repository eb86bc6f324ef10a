"""The pictures of a report, as files beside the page."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ...data.files import path_inside, write_atomically
from .figures import png


class Album:
    """A folder of PNG files, each name once: a case may be called "loss" as the curve is.

    Args:
        folder: made when the first picture is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()

    def keep(self, name: str, figure: Figure) -> bytes:
        """Write a figure as name.png, or name_2.png where that is taken; the file's content.

        Raises:
            OutputError: it cannot be written, or the name leads out of the folder.
        """
        own, number = name, 1
        while own.casefold() in self._names:
            number += 1
            own = f"{name}_{number}"
        self._names.add(own.casefold())
        content = png(figure)
        write_atomically(
            path_inside(self.folder, f"{own}.png"), lambda stream: stream.write(content)
        )
        return content
