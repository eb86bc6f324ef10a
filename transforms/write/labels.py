"""Writing label maps beside the scan's own header."""

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor

from ...data.errors import ConfigError
from ...data.images.formats.nifti_voxels import nifti_header
from ...data.images.names import MASK_SUFFIXES
from ...data.images.reading import Image, write_labels
from ...data.label_tables.table import LabelTable
from ...data.output_folder import OutputFolder
from ..load import is_series
from ..restore.transform import original_grid
from ..timing import stage
from .writer import Writerd, case_name


class WriteLabelsd(Writerd):
    """Write label maps (1, X, Y, Z) in the scan's own grid as <output_dir>/<case id><output_ext>.

    The case id is data[id_key] if the item has one, else the scan's file name without its suffix
    (of a DICOM series in data["files"]["image"]: its folder's); "sub/dir/name" is written into
    folders. Without either, as of an image that came in memory, nothing is written. Of a NIfTI scan
    sform, qform, both codes and units are kept: those of `nifti_header` in the meta, or of the file
    where another reader than LoadCased has not left it there. Others give their affine. The path is
    left in data[f"{key}_path"]; seconds are added to data["timings"]["write"] if that dict is
    present.

    Args:
        output_dir: made if it does not exist; see OutputFolder for which files may be replaced.
        postfix: put between the case id and the suffix, e.g. "_seg".
        output_ext: one of images.names.MASK_SUFFIXES, which the file's form follows.
        labels: names of the values 0, 1, ..., the background first; they are written into the mask
            where its form holds names. None are not.
        terminology: label -> its codes, see label_tables.terminology.planned_terminology.
        values: those of the foreground labels, where they are not 1, 2, ...

    Raises:
        ConfigError: there is no such output_ext, or the terminology is not as it should be.
        OutputError: the file cannot be written, is in the place of one that Gridgate did not write,
            the map is not in the scan's grid, or the id leads out of the folder.
        ImageError: the scan's header is not in the meta, and cannot be read from its file.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        output_dir: str | PathLike[str],
        postfix: str = "",
        output_ext: str = ".nii.gz",
        labels: Sequence[str] = (),
        terminology: Mapping[str, Any] | None = None,
        values: Sequence[int] | None = None,
        id_key: str = "id",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if output_ext not in MASK_SUFFIXES:
            raise ConfigError(f"output_ext {output_ext!r} is not one of {', '.join(MASK_SUFFIXES)}")
        self.output_ext = output_ext
        self.table = LabelTable.of(labels, terminology, values=values) if labels else None
        self.output = OutputFolder(output_dir)
        self.postfix = postfix
        self.id_key = id_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        with stage(result, "write"):
            for key in self.key_iterator(result):
                labels = result[key]
                like = scan_of(result, labels)
                if not (name := case_name(result, self.id_key, like.path)):
                    continue
                relative = self.files(name)[0]
                path = self.output.path(relative)
                write_labels(
                    path,
                    np.asarray(torch.as_tensor(labels).cpu())[0],
                    like=like,
                    table=self.table,
                    save=self.output.saver(relative),
                )
                result[f"{key}_path"] = str(path)
        return result

    def files(self, case_id: str, image: Any = None) -> list[str]:
        """The file of a case, as a path in the output folder."""
        return [f"{case_id}{self.postfix}{self.output_ext}"]


def scan_of(item: Mapping[Hashable, Any], labels: MetaTensor) -> Image:
    """The scan that a label map in its grid belongs to, without its voxels: what the writers use.

    Args:
        item: item["files"]["image"] tells of a DICOM series, which has a grid but no NIfTI header.
        labels: (1, X, Y, Z), its meta as RestoreLabelsd leaves it.
    """
    files = item.get("files")
    image = files.get("image") if isinstance(files, Mapping) else None
    path = Path(str(labels.meta["filename_or_obj"]))
    block = labels.meta.get("nifti_header")
    if image is not None and is_series(image):
        path, header = image.folder, None
    elif block is not None:
        header = _nifti_header(block)
    else:
        header = nifti_header(path) if path.is_file() else None
    return Image(np.empty((0, 0, 0), dtype=np.uint8), original_grid(labels), path, header, ())


def _nifti_header(block: bytes) -> nib.Nifti1Header | None:
    """The header of its bytes; NIfTI 1 and 2 are told apart by their length.

    Unchecked: what was wrong with it was mended when the scan was read.
    """
    if not block:
        return None
    kind = nib.Nifti1Header if len(block) == nib.Nifti1Header.sizeof_hdr else nib.Nifti2Header
    return kind(block, check=False)
