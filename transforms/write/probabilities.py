"""Writing the probabilities of chosen labels beside the masks."""

from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from monai.transforms import Transform

from ...data.images.writing import write_probabilities
from ..timing import stage
from .labels import scan_of


class WriteProbabilitiesd(Transform):
    """Write data[f"{key}_probabilities"] (label -> (X, Y, Z) uint8, 255 is 1) in the scan's own grid.

    As <output_dir>/probabilities/<label>/<case id>.nii.gz, uint8 with the slope 1/255: any reader
    gives 0 to 1, in steps of 0.4 %. (NIfTI has no 16-bit floating point type.) Seconds are added to
    data["timings"]["write"].

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(
        self, key: str = "pred", *, output_dir: str | PathLike[str], id_key: str = "id"
    ) -> None:
        self.key, self.id_key = key, id_key
        self.output_dir = Path(output_dir)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item as it is; the files are written."""
        result = dict(data)
        with stage(result, "write"):
            like = scan_of(result, result[self.key])
            for label, array in result.get(f"{self.key}_probabilities", {}).items():
                path = self.output_dir / "probabilities" / label / f"{result[self.id_key]}.nii.gz"
                write_probabilities(path, array, like=like)
        return result
