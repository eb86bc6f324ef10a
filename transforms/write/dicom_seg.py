"""Writing DICOM SEG beside the masks, for cases that came as DICOM series."""

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from ...data.dicom.seg import write_dicom_seg
from ...data.dicom.series import DicomSeries
from ..timing import stage


class WriteDicomSegd(Transform):
    """Write a label map (1, X, Y, Z) as <output_dir>/<case id>.seg.dcm where the case is a DICOM series.

    Other cases are left alone. The series is found in data["files"]["image"]. Seconds are added to
    data["timings"]["write"].

    Args:
        labels: names of the values 0, 1, ...; the background first.

    Raises:
        OutputError: the file cannot be written.
        ImageError: the series cannot be read again.
    """

    def __init__(
        self,
        key: str = "pred",
        *,
        output_dir: str | PathLike[str],
        labels: Sequence[str],
        id_key: str = "id",
    ) -> None:
        self.key, self.id_key = key, id_key
        self.output_dir = Path(output_dir)
        self.names = {value: name for value, name in enumerate(labels) if value}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item as it is; the file is written."""
        result = dict(data)
        series = result.get("files", {}).get("image")
        if isinstance(series, DicomSeries):
            with stage(result, "write"):
                array = np.asarray(torch.as_tensor(result[self.key]).cpu())[0]
                path = self.output_dir / f"{result[self.id_key]}.seg.dcm"
                write_dicom_seg(path, array, series=series, names=self.names, algorithm="Gridgate")
        return result
