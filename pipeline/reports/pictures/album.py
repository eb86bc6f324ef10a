"""The pictures of a report, as files beside the page."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ....data.files import Save, path_inside, write_atomically
from ....data.output_folder import OutputFolder
from .figures import png


class Album:
    """A folder of PNG files, each name once: a case may be called "loss" as the curve is.

    Args:
        folder: made when the first picture is kept.
        save: writes a file's content; of an OutputFolder where it is to be in its manifest.
    """

    def __init__(self, folder: Path, save: Save = write_atomically) -> None:
        self.folder = folder
        self._save = save
        self._names: set[str] = set()

    @classmethod
    def of(cls, output: OutputFolder) -> Album:
        """That of an output folder: its folder `pictures`, in the manifest."""
        folder = output.folder
        return cls(
            folder / "pictures",
            save=lambda path, write: output.write(Path(path).relative_to(folder), write),
        )

    @classmethod
    def inside_the_page(cls) -> Album:
        """One that writes no files: the page holds its pictures anyway."""
        return cls(Path(), save=lambda path, write: None)

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
        self._save(path_inside(self.folder, f"{own}.png"), lambda stream: stream.write(content))
        return content
