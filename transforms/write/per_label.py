"""What the transforms that write a file per label have in common."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from ...data.images.image import Image
from ...data.output_folder import OutputFolder
from ..timing import stage
from .labels import scan_of
from .writer import Writerd, case_name


class LabelFilesd(Writerd):
    """Write an array per label, in the scan's own grid.

    As <output_dir>/<folder>/<label>/<case id>.nii.gz. A subclass says which arrays, and how one is
    written. Without an id or a scan's name, as of an
    image that came in memory, nothing is written. Seconds are added to data["timings"]["write"].

    Args:
        key: of the label map; its grid is the scan's.
        output_dir: see OutputFolder for which files may be replaced.
        labels: those whose files will be there.

    Raises:
        OutputError: a file cannot be written, is in the place of one that Gridgate did not write,
            or the id or a label leads out of the folder.
    """

    folder: ClassVar[str]

    def __init__(
        self,
        key: str = "pred",
        *,
        output_dir: str | PathLike[str],
        labels: Sequence[str] = (),
        id_key: str = "id",
    ) -> None:
        super().__init__(key)
        self.key, self.id_key = key, id_key
        self.output = OutputFolder(output_dir)
        self.labels = list(labels)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item as it is; the files are written."""
        result = dict(data)
        with stage(result, "write"):
            like = scan_of(result, result[self.key])
            name = case_name(result, self.id_key, like.path)
            for label, array in self.arrays(result) if name else ():
                relative = self.file(label, name)
                save = self.output.saver(relative)
                self.write(self.output.path(relative), array, label, like=like, save=save)
        return result

    def arrays(self, item: Mapping[Hashable, Any]) -> Iterable[tuple[str, Any]]:
        """Labels and their arrays (X, Y, Z), one after the other."""
        raise NotImplementedError

    def write(
        self, path: Path, array: Any, label: str, *, like: Image, save: Callable[..., Any]
    ) -> None:
        """Write one array."""
        raise NotImplementedError

    def files(self, case_id: str, image: Any = None) -> list[str]:
        """The files of a case, as paths in the output folder."""
        return [self.file(label, case_id) for label in self.labels]

    @classmethod
    def file(cls, label: str, case_id: str) -> str:
        """Where a label's file is, in the output folder."""
        return f"{cls.folder}/{label}/{case_id}.nii.gz"
