"""Writing DICOM SEG beside the masks, for cases that came as DICOM series."""

import errno
import logging
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data.dicom.seg import write_dicom_seg
from ...data.dicom.series import DicomSeries
from ...data.errors import GridgateError, OutputError
from ...data.label_tables.terminology import check_terminology
from ...data.output_folder import OutputFolder
from ..timing import stage
from .writer import Writerd

logger = logging.getLogger(__name__)

# What hits every case, and the mask as well: disk full, quota, read-only, broken.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class WriteDicomSegd(Writerd):
    """Write a label map (1, X, Y, Z) as <output_dir>/<case id>.seg.dcm, of a DICOM series.

    Other cases are left alone. The series is found in data["files"]["image"]. A DICOM SEG that
    cannot be made does not cost the mask: the reason is left as text in data["dicom_seg_reason"],
    and the file of an earlier run, which is of another mask, is removed. Seconds are added to
    data["timings"]["write"].

    Args:
        labels: names of the values 0, 1, ...; the background first.
        terminology: label -> its codes, see label_tables.terminology.planned_terminology.

    Raises:
        ConfigError: the terminology is not as it should be.
        OutputError: the disk is full or cannot be written.
    """

    def __init__(
        self,
        key: str = "pred",
        *,
        output_dir: str | PathLike[str],
        labels: Sequence[str],
        terminology: Mapping[str, Any] | None = None,
        id_key: str = "id",
    ) -> None:
        super().__init__(key)
        self.key, self.id_key = key, id_key
        self.output = OutputFolder(Path(output_dir))
        check_terminology(terminology, labels)
        self.terminology = terminology
        self.names = {value: name for value, name in enumerate(labels) if value}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item as it is, perhaps with the reason; the file is written."""
        result = dict(data)
        series = result.get("files", {}).get("image")
        if not isinstance(series, DicomSeries):
            return result
        with stage(result, "write"):
            (relative,) = self.files(result[self.id_key], series)
            try:
                path = self.output.path(relative)
                self.output.refuse_foreign([relative])
                array = np.asarray(torch.as_tensor(result[self.key]).cpu())[0]
                write_dicom_seg(
                    path,
                    array,
                    series=series,
                    names=self.names,
                    algorithm="Gridgate",
                    terminology=self.terminology,
                    save=lambda write: self.output.write(relative, write),
                )
            except Exception as error:
                if _is_disk(error):
                    raise
                if not isinstance(error, GridgateError):  # a bug of ours, or of a library
                    logger.error(f"{relative}: {error}", exc_info=error)
                result["dicom_seg_reason"] = str(error) or type(error).__name__
                with suppress(OutputError):
                    self.output.remove(relative)
        return result

    def files(self, case_id: str, image: Any) -> list[str]:
        """The file of a case, if it is a series, as a path in the output folder."""
        return [f"{case_id}.seg.dcm"] if isinstance(image, DicomSeries) else []


def _is_disk(error: Exception) -> bool:
    """Whether the disk is full or cannot be written, which is not this file's fault."""
    system = error.__cause__ if isinstance(error, OutputError) else error
    return isinstance(system, OSError) and system.errno in _DISK
