"""From paths, or images in memory, to MetaTensors in their own grids."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import SpaceKeys

from ..data.errors import ConfigError, ImageError
from ..data.images.channels import check_channels
from ..data.images.memory import memory_image, memory_labels
from ..data.images.reading import Image, read_image, read_labels
from ..data.images.values import why_not_hu
from .timing import stage

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


class LoadCased(MapTransform):
    """Read a case: a path, a list of paths (one per channel) or a DicomSeries to a MetaTensor.

    An image that is in memory already is taken too, as tools hand one over that read images
    themselves (MONAI Label, MONAI Deploy): a MetaTensor, tensor or array, (X, Y, Z), channels
    first, or with its channels where meta["original_channel_dim"] says. Its grid is that of its
    own affine and shape; of an array in data["image_meta_dict"]["affine"], or else voxels of 1 mm.
    `filename_or_obj` is "" then, so that nothing is written for it. For that reason this is no
    LoadImaged, which such tools replace by one of theirs.

    float32, (C, X, Y, Z). Affines are voxel index to RAS+ mm. The meta holds `affine`,
    `original_affine` (4, 4) float64, `spatial_shape` (3,) of the file, `filename_or_obj` (str: the
    first path, or the series), `nifti_header` (bytes, b"" for other formats) and `notes` (str: what
    was odd about the files, "" mostly). Keys in `label_keys` are read as label maps: whole numbers
    >= 0, one channel. Seconds are added to data["timings"]["read"] if that dict is present.

    Args:
        channels: channels of each image; with a list of paths, one for each channel.
        modality: "CT" adds a note that begins with "intensities: " where an image's values can
            hardly be HU, see data.images.values.why_not_hu; others are not looked at.
        non_finite: "error" or "replace": what to do with NaN and infinite voxels, see
            data.images.read_image.
        uneven: "refuse" or "resample": what to do with a DICOM series whose slices are not evenly
            spaced, see data.dicom.volume.read_series.
        keep_integers: images stored as integers become int16 or int32, label maps uint8 (int32
            above 255): what follows then reads less memory, and no float32 copy at full resolution
            is made.
        keep_scan: leave the array of the first key that is no label map, as it was read (integers
            kept), in data["scan"]: numpy, (X, Y, Z), or (C, X, Y, Z) with several channels. The
            tensor shares its memory where it is of the same type (always with `keep_integers`), so
            neither may be changed in place.

        lowest_label: negative values of label maps are allowed from here on.

    Raises:
        ConfigError: non_finite or uneven is neither.
        ImageError: a file cannot be read or is not usable; the files of a list are on different
            grids, or not `channels`.
    """

    def __init__(
        self,
        keys: KeysCollection = ("image", "label"),
        *,
        channels: int = 1,
        label_keys: KeysCollection = ("label",),
        modality: str | None = None,
        non_finite: Literal["error", "replace"] = "error",
        uneven: Literal["refuse", "resample"] = "refuse",
        keep_integers: bool = False,
        keep_scan: bool = False,
        lowest_label: int = 0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if non_finite not in ("error", "replace"):
            raise ConfigError(f"non_finite: error or replace is wanted, got {non_finite!r}")
        if uneven not in ("refuse", "resample"):
            raise ConfigError(f"uneven: refuse or resample is wanted, got {uneven!r}")
        self.check_hu = isinstance(modality, str) and modality.upper() == "CT"
        self.channels = channels
        label_keys = (label_keys,) if isinstance(label_keys, str) else label_keys
        self.label_keys = tuple(label_keys)  # type: ignore[arg-type]
        self.non_finite = non_finite
        self.uneven = uneven
        self.keep_integers = keep_integers
        self.keep_scan = keep_scan
        self.lowest_label = lowest_label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        with stage(result, "read"):
            scan: np.ndarray | None = None
            for key in self.key_iterator(result):
                images = self._images(result, key)
                array = _stacked(images)
                if scan is None and key not in self.label_keys:
                    scan = array
                if not self.keep_integers:
                    array = np.asarray(array, dtype=np.float32)
                result[key] = _to_tensor(array, images, _source(result[key], images))
            if self.keep_scan and scan is not None:
                result["scan"] = scan[0] if len(scan) == 1 else scan
        return result

    def _images(self, data: Mapping[Hashable, Any], key: Hashable) -> list[Image]:
        value, is_label = data[key], key in self.label_keys
        if isinstance(value, np.ndarray | torch.Tensor):
            images = [self._from_memory(value, data.get(f"{key}_meta_dict"), is_label)]
        elif is_label:
            images = [read_labels(path, lowest=self.lowest_label) for path in _as_paths(value)]
        else:
            images = self._read_image(value)
        if self.check_hu and not is_label and not is_series(value):  # whose reader has done so
            images = [_with_doubts(image) for image in images]
        return images

    def _from_memory(self, value: Any, meta: Any, is_label: bool) -> Image:
        array, affine, axis = _held(value, meta)
        if is_label:
            return memory_labels(array, affine=affine, channel_axis=axis, lowest=self.lowest_label)
        image = memory_image(
            array,
            affine=affine,
            channel_axis=axis,
            channels=self.channels,
            non_finite=self.non_finite,
            keep_integers=self.keep_integers or self.keep_scan,
        )
        told = (meta or {}).get("notes") or ()
        return replace(image, notes=(*told, *image.notes)) if isinstance(told, tuple) else image

    def _read_image(self, value: Any) -> list[Image]:
        whole = self.keep_integers or self.keep_scan
        if is_series(value):
            from ..data.dicom.volume import (
                read_series,  # only those who have DICOM pay for its import
            )

            if self.channels != 1 and not value.problem:
                raise ImageError(
                    f"{value}: a DICOM series has one channel, but {self.channels} are wanted"
                )
            return [read_series(value, keep_integers=whole, uneven=self.uneven)]
        paths = _as_paths(value)
        if len(paths) == 1:
            return [
                read_image(
                    paths[0],
                    channels=self.channels,
                    non_finite=self.non_finite,
                    keep_integers=whole,
                )
            ]
        if len(paths) != self.channels:
            raise ImageError(
                f"{paths[0]}: the case has {len(paths)} files, "
                f"but {self.channels} channels are wanted; give a file for each"
            )
        return [read_image(path, non_finite=self.non_finite, keep_integers=whole) for path in paths]


def is_series(value: Any) -> bool:
    """Whether a value is a DicomSeries; a path is told from one without DICOM's readers."""
    if value is None or isinstance(value, str | PathLike | Sequence | np.ndarray | torch.Tensor):
        return False
    from ..data.dicom.series import DicomSeries

    return isinstance(value, DicomSeries)


def _held(value: Any, meta: Any) -> tuple[np.ndarray, np.ndarray | None, int | None]:
    """Array, affine and axis of the channels, where they are told, of an image in memory."""
    meta = dict(meta or {})
    affine = meta.get("affine", meta.get("original_affine"))
    if isinstance(value, MetaTensor):
        meta, affine = value.meta, value.affine
        if str(getattr(meta.get("space"), "value", meta.get("space"))) == SpaceKeys.LPS.value:
            affine = torch.as_tensor(_LPS, dtype=affine.dtype) @ affine.cpu()
    if isinstance(value, torch.Tensor):
        tensor = value.as_tensor() if isinstance(value, MetaTensor) else value
        tensor = tensor.detach().cpu()
        value = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    try:
        axis = int(meta["original_channel_dim"])
    except (KeyError, TypeError, ValueError):  # "no_channel", NaN
        axis = None
    return value, None if affine is None else np.asarray(affine, dtype=np.float64), axis


def _source(value: Any, images: Sequence[Image]) -> str:
    if isinstance(value, np.ndarray | torch.Tensor):
        return ""
    return str(value if is_series(value) else images[0].path)


def _with_doubts(image: Image) -> Image:
    """A CT with one note more where its values can hardly be HU."""
    why = why_not_hu(image.array)
    return image if why is None else replace(image, notes=(*image.notes, f"intensities: {why}"))


def _as_paths(value: Paths) -> list[Path]:
    if isinstance(value, str | PathLike):
        return [Path(value)]
    if (
        isinstance(value, Sequence)
        and value
        and all(isinstance(path, str | PathLike) for path in value)
    ):
        return [Path(path) for path in value]
    raise TypeError(
        f"a path or a list of paths is wanted, got {type(value).__name__}: {str(value)[:80]}"
    )


def _stacked(images: Sequence[Image]) -> np.ndarray:
    """(C, X, Y, Z) of the images, of their type; the image's own memory when it is one."""
    check_channels([(image.path, image.grid) for image in images])
    arrays = [image.array if image.array.ndim == 4 else image.array[None] for image in images]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _to_tensor(array: np.ndarray, images: Sequence[Image], source: str) -> MetaTensor:
    grid = images[0].grid
    affine = np.array(grid.affine, dtype=np.float64)
    meta = {
        "original_affine": affine,
        "spatial_shape": np.asarray(grid.shape),
        "filename_or_obj": source,
        # One string, not a tuple: MONAI cannot collate tuples that differ in length from case to
        # case.
        "notes": "; ".join(note for image in images for note in image.notes),
        # the bytes, as MONAI cannot collate nibabel's objects; of a NIfTI file alone
        "nifti_header": b"" if images[0].header is None else images[0].header.binaryblock,
        "space": SpaceKeys.RAS,
    }
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(
            np.int32 if array.dtype == np.uint16 else np.int64
        )  # torch hardly knows the others
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine.copy()), meta=meta)
