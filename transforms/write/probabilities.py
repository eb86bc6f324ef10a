"""Writing the probabilities of chosen labels beside the masks."""

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from typing import Any

from ...data.images.writing import write_probabilities
from ...data.output_folder import OutputFolder
from ..timing import stage
from .labels import scan_of
from .writer import Writerd, case_name

FOLDER = "probabilities"
"""The folder below the masks."""


class WriteProbabilitiesd(Writerd):
    """Write data[f"{key}_probabilities"] (label -> (X, Y, Z) uint8) in the scan's own grid.

    As <output_dir>/probabilities/<label>/<case id>.nii.gz, uint8 with the slope 1/255: any reader
    gives 0 to 1, in steps of 0.4 %. (NIfTI has no 16-bit floating point type.) Seconds are added to
    data["timings"]["write"].

    Args:
        output_dir: see OutputFolder for which files may be replaced.
        labels: those whose probability will be there; all that are there are written.

    Raises:
        OutputError: a file cannot be written, is in the place of one that Gridgate did not write,
            or the id or a label leads out of the folder.
    """

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
            found = result.get(f"{self.key}_probabilities", {}) if name else {}
            for label, array in found.items():
                relative = _file(label, name)
                write_probabilities(
                    self.output.path(relative),
                    array,
                    like=like,
                    save=self.output.saver(relative),
                )
        return result

    def files(self, case_id: str, image: Any = None) -> list[str]:
        """The files of a case, as paths in the output folder."""
        return [_file(label, case_id) for label in self.labels]


def _file(label: str, case_id: str) -> str:
    return f"{FOLDER}/{label}/{case_id}.nii.gz"
