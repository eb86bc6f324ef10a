"""Writing DICOM SEG beside the masks, for cases that came as DICOM series."""

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from ...data.dicom.seg import write_dicom_seg
from ...data.dicom.series import DicomSeries
from ...data.output_folder import OutputFolder
from ..timing import stage


class WriteDicomSegd(Transform):
    """Write a label map (1, X, Y, Z) as <output_dir>/<case id>.seg.dcm, of a DICOM series.

    Other cases are left alone. The series is found in data["files"]["image"]. Seconds are added to
    data["timings"]["write"].

    Args:
        labels: names of the values 0, 1, ...; the background first.

    Raises:
        OutputError: the file cannot be written, is in the place of one that Gridgate did not write,
            or the id leads out of the folder.
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
        self.output = OutputFolder(output_dir)
        self.names = {value: name for value, name in enumerate(labels) if value}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item as it is; the file is written."""
        result = dict(data)
        series = result.get("files", {}).get("image")
        if isinstance(series, DicomSeries):
            with stage(result, "write"):
                array = np.asarray(torch.as_tensor(result[self.key]).cpu())[0]
                (relative,) = self.files(result[self.id_key], series)
                path = self.output.path(relative)
                self.output.refuse_foreign([relative])
                write_dicom_seg(path, array, series=series, names=self.names, algorithm="Gridgate")
                self.output.record(relative)
        return result

    def files(self, case_id: str, image: Any) -> list[str]:
        """The file of a case, if it is a series, as a path in the output folder."""
        return [f"{case_id}.seg.dcm"] if isinstance(image, DicomSeries) else []
