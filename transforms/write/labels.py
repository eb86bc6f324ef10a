"""Writing label maps beside the scan's own header."""

import zlib
from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ...data.errors import GridgateError, ImageError, OutputError
from ...data.images.nifti_voxels import nifti_header
from ...data.images.reading import Image, case_id, write_labels
from ..load import is_series
from ..restore.transform import original_grid
from ..timing import stage


class WriteLabelsd(MapTransform):
    """Write label maps (1, X, Y, Z) in the scan's own grid as <output_dir>/<case id>.nii.gz.

    The case id is data[id_key] if the item has one, else the scan's file name without its suffix
    (of a DICOM series in data["files"]["image"]: its folder's); "sub/dir/name" is written into
    folders. For a NIfTI scan only its header is read again, and sform, qform, both codes and units
    are kept; others give their affine. The path is left in data[f"{key}_path"]; seconds are added
    to data["timings"]["write"] if that dict is present.

    Args:
        output_dir: made if it does not exist.
        postfix: put between the case id and the suffix, e.g. "_seg".

    Raises:
        OutputError: the file cannot be written, the map is not in the scan's grid, or the id leads
            out of the folder.
        ImageError: the scan's header cannot be read again.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        output_dir: str | PathLike[str],
        postfix: str = "",
        id_key: str = "id",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.postfix = postfix
        self.id_key = id_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        with stage(result, "write"):
            for key in self.key_iterator(result):
                labels = result[key]
                like = scan_of(result, labels)
                name = result.get(self.id_key)
                name = name if isinstance(name, str) and name else case_id(like.path)
                path = self.output_dir / f"{name}{self.postfix}.nii.gz"
                if Path(name).is_absolute() or ".." in Path(name).parts:
                    raise OutputError(
                        f"{path}: the case id {name!r} leads out of the folder; give another id"
                    )
                write_labels(path, np.asarray(torch.as_tensor(labels).cpu())[0], like=like)
                result[f"{key}_path"] = str(path)
        return result


def scan_of(item: Mapping[Hashable, Any], labels: MetaTensor) -> Image:
    """The scan that a label map in its grid belongs to, without its voxels: all that the writers look at.

    Args:
        item: item["files"]["image"] tells of a DICOM series, which has a grid but no NIfTI header.
        labels: (1, X, Y, Z), its meta as RestoreLabelsd leaves it.

    Raises:
        ImageError: the scan's header cannot be read again.
    """
    path, header = Path(str(labels.meta["filename_or_obj"])), None
    source = _image_source(item)
    if source is not None:
        path = source
    else:
        try:
            header = nifti_header(path)
        except (GridgateError, OSError, EOFError, zlib.error) as error:
            raise ImageError(
                f"{path}: its header could be read once, but not again ({error}); is it still "
                "there?"
            ) from error
    return Image(np.empty((0, 0, 0), dtype=np.uint8), original_grid(labels), path, header, ())


def _image_source(item: Mapping[Hashable, Any]) -> Path | None:
    """The folder or zip of the item's DICOM series; None when it is no series."""
    files = item.get("files")
    image = files.get("image") if isinstance(files, Mapping) else None
    return image.folder if image is not None and is_series(image) else None
