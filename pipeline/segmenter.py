"""Masks in memory: a bundle's network over images that a program holds, without files.

Example:
    >>> import gridgate
    >>> found = gridgate.segment("ct.nii.gz", "head_neck_attention_unet")  # doctest: +SKIP
    >>> found.labels.shape, found.volumes_ml["mandible"]  # doctest: +SKIP
    ((512, 512, 120), 71.3)
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import ArrayLike, NDArray

from ..data.errors import ConfigError, GridgateError, user_error
from ..data.geometry.affines import Affine
from ..data.images.formats.nifti_affine import choose_affine
from .batch.case import Case, CaseInProgress
from .batch.processor import CaseProcessor, read_item
from .batch.results.quality import check_expectations
from .models.devices import choose_devices
from .models.run_weights import Checkpoint, with_weights
from .plans.bundle_folders import bundle_path
from .workflow import BundleRun

if TYPE_CHECKING:
    import SimpleITK

InMemory: TypeAlias = Any
"""A path, a list of paths (one per channel), a DicomSeries, a nibabel or SimpleITK image, a
MetaTensor, or an array with its affine."""
_NOT_HERE = {
    "input_dir": "the image is handed to the segmenter",
    "output_dir": "nothing is written",
    "dataset_dir": "the image is handed to the segmenter",
    "probabilities": "nothing is written",
    "dicom_seg": "nothing is written",
    **dict.fromkeys(
        ("report", "pictures", "output_ext", "region_masks", "overwrite", "terminology"),
        "nothing is written",
    ),
    **dict.fromkeys(
        ("recursive", "flat", "isolate", "time_limit", "num_workers", "shard", "ray", "ray_cores"),
        "one image is handed over after another",
    ),
    "load_pretrain": "weights are always loaded",
    "device": "give it as device=",
    "checkpoint": "give it as checkpoint=",
}
_TOLD = 3  # of the things in a folder that were passed over
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A label map in the image's own grid, and what is known of it.

    Args:
        labels: (X, Y, Z) of the smallest unsigned integers; of regions, which overlap, the value
            that each is written as, later ones over earlier ones.
        affine: (4, 4), RAS+ mm, the image's.
        names: value -> label, the background not among them.
        regions: name -> (X, Y, Z) bool of labels that overlap; empty where they do not.
        volumes_ml: label -> ml.
        hints: what looks wrong with it, see the hints of cases.csv.
        notes: what was odd about the image, and mended.
        seconds: of each stage.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    affine: Affine
    names: Mapping[int, str]
    regions: Mapping[str, NDArray[np.bool_]]
    volumes_ml: Mapping[str, float]
    hints: tuple[str, ...]
    notes: str
    seconds: Mapping[str, float]

    def nifti(self) -> nib.Nifti1Image:
        """As a nibabel image."""
        made = nib.Nifti1Image(self.labels, self.affine)
        made.header.set_xyzt_units("mm")
        return made

    def sitk(self) -> SimpleITK.Image:
        """As a SimpleITK image."""
        import SimpleITK

        made = SimpleITK.GetImageFromArray(np.ascontiguousarray(self.labels.transpose(2, 1, 0)))
        lps = _LPS @ self.affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        made.SetSpacing([float(mm) for mm in spacing])
        made.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        made.SetOrigin([float(mm) for mm in lps[:3, 3]])
        return made


class Segmenter:
    """A bundle's network, its weights loaded once, for as many images as there are.

    Safe to call from several threads: reading and bringing back run side by side, the network
    itself one image after another. Nothing is printed, and no file is written.

    Args:
        bundle: a bundle that comes with Gridgate, by its name, or a folder.
        device: "auto", "cpu", "cuda", "cuda:1".
        checkpoint: weights; several are an ensemble; None: the bundle's own.
        settings: of the bundle's inference.yaml, such as {"mirror_axes": [0], "overlap": 0.25}.

    Raises:
        ConfigError: no such bundle; a setting that there is not, or that has no meaning here.
        CheckpointError: the weights are missing or another network's.

    Example:
        >>> segmenter = Segmenter("head_neck_attention_unet")  # doctest: +SKIP
        >>> segmenter(nib.load("ct.nii.gz")).nifti()  # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: str | Path,
        *,
        device: str = "auto",
        checkpoint: Checkpoint = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        given = dict(settings or {})
        for name in given:
            if name in _NOT_HERE:
                raise ConfigError(f"{name} is no setting of a segmenter: {_NOT_HERE[name]}")
        words = {name: _word(name, value) for name, value in given.items()}
        with _as_ours():
            self._set_up(bundle, words, device, checkpoint)

    def _set_up(
        self,
        bundle: str | Path,
        words: Mapping[str, str],
        device: str,
        checkpoint: Checkpoint,
    ) -> None:
        run = BundleRun(bundle_path(bundle), "inference.yaml", "inferring", words)
        run.check()
        parser = run.parser
        parser["postprocessing"]["output_dir"] = None
        plan = parser.get_parsed_content("plan")
        expected = dict(parser.get_parsed_content("expected") or {})
        labels = parser.get_parsed_content("labels")
        check_expectations(expected, labels)
        if checkpoint is None:
            checkpoint = parser.get_parsed_content("checkpoint")
        network = parser.get_parsed_content("network_def")
        values = parser.get_parsed_content("region_values")
        self.labels: tuple[str, ...] = tuple(labels)
        self._modality = parser.get_parsed_content("modality") if "modality" in parser else None
        self._values = list(range(1, len(labels))) if values is None else list(values)
        self._overlap = values is not None
        self._lock = threading.Lock()
        self._processor = CaseProcessor(
            transform=parser.get_parsed_content("preprocessing"),
            network=with_weights(network, checkpoint, plan),
            inferer=parser.get_parsed_content("inferer"),
            postprocessing=parser.get_parsed_content("postprocessing"),
            labels=self.labels,
            output_dir=Path(tempfile.gettempdir()),  # nothing is written
            device=str(choose_devices(device)[0]),
            expected=expected,
        )
        self._processor.prepare()
        if hasattr(self._processor.inferer, "check_engine"):
            self._processor.inferer.check_engine(
                self._processor.network, torch.device(self._processor.device)
            )

    def __call__(self, image: InMemory, affine: ArrayLike | None = None) -> Segmentation:
        """Segment one image.

        Args:
            image: see InMemory. Arrays are (X, Y, Z), with several channels (C, X, Y, Z); of a
                SimpleITK image the voxels and the place are its own.
            affine: (4, 4) of an array, voxel index to RAS+ mm; of nothing else.

        Raises:
            ConfigError: an affine is missing, or given where the image has its own.
            GridgateError: the image cannot be read, or not be segmented.
        """
        item = {"id": "image", **_item(image, affine, self._modality)}
        work = CaseInProgress(Case("image", (), item))
        with _as_ours():
            work.data = read_item(work.case, self._processor.transform, work.seconds)
        with self._lock:
            self._processor.segment(work)
        result = self._processor.finish(work)
        if work.error is not None:
            raise GridgateError(work.error)
        return self._segmentation(work.data, result)

    def _segmentation(self, data: Mapping[Any, Any], result: Any) -> Segmentation:
        regions: dict[str, NDArray[np.bool_]] = {}
        if self._overlap:
            bits = np.asarray(data["pred_bits"])[0]
            for number, name in enumerate(self.labels[1:]):
                regions[name] = (bits >> number & 1).astype(bool)
        return Segmentation(
            labels=np.array(np.asarray(data["pred"])[0]),
            affine=np.array(data["image"].meta["original_affine"], dtype=np.float64),
            names=dict(zip(self._values, self.labels[1:], strict=True)),
            regions=regions,
            volumes_ml={volume.name: volume.ml for volume in result.volumes},
            hints=result.hints,
            notes=result.notes,
            seconds={stage: round(spent, 3) for stage, spent in result.seconds.items()},
        )


def segment(
    image: InMemory,
    bundle: str | Path,
    *,
    affine: ArrayLike | None = None,
    device: str = "auto",
    checkpoint: Checkpoint = None,
    settings: Mapping[str, Any] | None = None,
) -> Segmentation:
    """Segment one image; for several a `Segmenter` loads the weights once.

    Args:
        image, affine: see Segmenter.__call__.
        bundle, device, checkpoint, settings: see Segmenter.

    Raises:
        GridgateError: see Segmenter.
    """
    made = Segmenter(bundle, device=device, checkpoint=checkpoint, settings=settings)
    return made(image, affine)


@contextmanager
def _as_ours() -> Iterator[None]:
    """Raise what is ours as it was: MONAI's Compose and config parser wrap it."""
    try:
        yield
    except Exception as error:
        known = user_error(error)
        if known is None or known is error:
            raise
        raise known from error


def _item(image: InMemory, affine: ArrayLike | None, modality: str | None) -> dict[str, Any]:
    """What the transforms take."""
    if isinstance(image, np.ndarray) or (
        isinstance(image, torch.Tensor) and not isinstance(image, MetaTensor)
    ):
        if affine is None:
            raise ConfigError("an array lies nowhere: give its affine, voxel index to RAS+ mm")
        return {"image": image, "image_meta_dict": {"affine": _checked(affine)}}
    if affine is not None:
        raise ConfigError(f"a {type(image).__name__} has an affine of its own; leave affine out")
    if isinstance(image, str | PathLike):
        return {"image": _at(Path(image), modality)}
    if isinstance(image, nib.spatialimages.SpatialImage):
        array = np.asanyarray(image.dataobj)
        while array.ndim > 3 and array.shape[-1] == 1:
            array = array[..., 0]
        if array.ndim == 5 and array.shape[3] == 1:  # no times, as ITK writes vectors
            array = array[:, :, :, 0]
        if array.ndim == 4:  # channels last for certain, as in the file
            array = np.moveaxis(array, 3, 0)
        return {"image": array, "image_meta_dict": _placed(image)}
    if hasattr(image, "GetDirection") and hasattr(image, "GetSpacing"):
        return _of_sitk(image)
    return {"image": image}


def _placed(image: nib.spatialimages.SpatialImage) -> dict[str, Any]:
    """The affine in mm, and what is odd about it: of a NIfTI header as of a file with that."""
    header = image.header
    if not isinstance(header, nib.Nifti1Header):
        return {"affine": _checked(image.affine)}
    choice = choose_affine(header)
    said = np.asarray(header.get_best_affine(), dtype=np.float64)
    affine = said if image.affine is None else np.asarray(image.affine, dtype=np.float64)
    if np.allclose(affine, said, rtol=1e-5, atol=1e-6 * np.abs(said).max()):
        return {"affine": choice.affine, "notes": (choice.why,) if choice.why else ()}
    factor = {1: 1e3, 3: 1e-3}.get(int(header["xyzt_units"]) & 7, 1.0)  # metres, micrometres
    return {"affine": _checked(np.diag([factor, factor, factor, 1.0]) @ affine)}


def _at(path: Path, modality: str | None) -> Any:
    """A file, or the one DICOM series of a folder or zip that has the bundle's modality."""
    if not (path.is_dir() or path.suffix.lower() in (".zip", ".dcm")):
        return str(path)
    from ..data.dicom.series import find_series

    series, passed = find_series(path, modality=modality)
    if len(series) != 1:
        kind = f"{modality} series" if modality else "series of images"
        others = "; ".join(f"{one.source}: {one.note}" for one in passed[:_TOLD])
        raise ConfigError(
            f"{path}: holds {len(series)} {kind}{others and f', beside others ({others})'}; hand "
            "over one of find_series"
        )
    return series[0]


def _of_sitk(image: Any) -> dict[str, Any]:
    import SimpleITK

    if image.GetDimension() != 3:
        raise ConfigError(f"a SimpleITK image of {image.GetDimension()} dimensions; 3 are wanted")
    array = SimpleITK.GetArrayFromImage(image)  # (Z, Y, X), components last
    several = image.GetNumberOfComponentsPerPixel() > 1
    array = array.transpose(3, 2, 1, 0) if several else array.transpose(2, 1, 0)
    made = np.eye(4)
    made[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    made[:3, 3] = image.GetOrigin()
    return {"image": array, "image_meta_dict": {"affine": _LPS @ made}}


def _checked(affine: ArrayLike) -> Affine:
    found = np.asarray(affine, dtype=np.float64)
    if found.shape != (4, 4) or not np.isfinite(found).all() or not np.linalg.det(found[:3, :3]):
        raise ConfigError(
            f"affine: (4, 4) numbers with three axes are wanted, got {found.tolist()}"
        )
    return found


def _word(name: str, value: Any) -> str:
    if isinstance(value, str | PathLike):
        return os.fspath(value)
    try:
        return json.dumps(value, default=_plain)
    except TypeError as error:
        raise ConfigError(f"{name}: {error}; a number, text, list or mapping is wanted") from error


def _plain(value: Any) -> Any:
    """A number, or numbers, of NumPy's or PyTorch's as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is no value of a setting")
