"""From nnU-Net's plans to a bundle's plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....data.errors import ConfigError
from ....plans.plan import Plan
from ...ensemble import ENSEMBLE
from .architecture import architecture
from .folder import NnunetModel
from .labels import nnunet_labels

_PAPER = (
    "Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image "
    "segmentation. Nature Methods 18 (2021) 203-211"
)
# readers, and the orientation that they turn scans to
_READERS = {
    "SimpleITKIO": None,
    "NibabelIO": None,
    "SimpleITKIOWithReorient": "RAS",
    "NibabelIOWithReorient": "RAS",
}
_SPLINES, _LINEAR, _NONE = (
    "resample_data_or_seg_to_shape",
    "resample_torch_fornnunet",
    "no_resampling_hack",
)
_MODES = {
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "zero_to_one",
}


def nnunet_plan(
    model: NnunetModel,
    name: str,
    *,
    orientation: str | None = None,
    mirroring: bool = True,
    fast_resampling: bool = False,
) -> Plan:
    """The plan of the bundle of a model.

    Args:
        model: see read_nnunet_model.
        name: of the bundle.
        orientation: that scans are turned to first; None: what the model's reader does, mostly
            nothing.
        mirroring: along the axes that the checkpoint allows, as nnUNetv2_predict does.
        fast_resampling: see Plan.

    Raises:
        ConfigError: something that is not run here; the text names it and says what to do.
    """
    where, settings = model.folder / "plans.json", model.settings
    _refuse(model)
    labels = nnunet_labels(model.dataset, of=model.folder / "dataset.json")
    network = architecture(settings, of=where)
    if len(model.folds) > 1:
        members = [network] * len(model.folds)
        network = {"name": ENSEMBLE, "members": members, "mean": "logits"}
        if labels.region_values is not None:
            network["regions"] = True
    intensity = _intensity(model)
    resampled = settings.get("resampling_fn_data", _SPLINES) != _NONE
    return Plan(
        name=name,
        labels=labels.names,
        region_values=labels.region_values,
        spacing=[float(mm) for mm in settings["spacing"]] if resampled else None,
        roi_size=[int(size) for size in settings["patch_size"]],
        orientation=None,
        intensity=intensity,
        network=network,
        channels=len(model.channels),
        modality="CT" if intensity["mode"] == "ct_zscore" else None,
        value_range=[-10, 10],
        test_mirror_axes=sorted(model.first.mirror_axes) if mirroring else [],
        nnunet=_grid(model, orientation),
        fast_resampling=fast_resampling,
        **_told(model),
    )


def _told(model: NnunetModel) -> dict[str, Any]:
    """What the page says of it."""
    dataset = str(model.plans.get("dataset_name") or model.dataset.get("name") or "a dataset")
    said = {key: model.dataset.get(key) for key in ("description", "reference", "licence")}
    sources = [str(said[key]) for key in ("reference", "licence") if said[key]]
    folds = [fold.removeprefix("fold_") for fold in model.folds]
    kind = "fold" if len(folds) == 1 else "folds"
    return {
        "title": f"{model.dataset.get('name') or dataset}, nnU-Net {model.configuration}",
        "description": (
            f"{str(said['description'] or '').strip()} nnU-Net's model of {dataset}: "
            f"{model.first.trainer}, {model.configuration}, {kind} {', '.join(folds)}."
        ).strip(),
        "task": "Segmentation",
        "data_source": ", ".join([dataset, *sources]),
        "dataset": dataset,
        "references": [_PAPER],
        "results": "Not measured here: `gridgate evaluate` measures it on labelled cases.",
    }


def _refuse(model: NnunetModel) -> None:
    where, settings = model.folder / "plans.json", model.settings
    itself = "predict with nnU-Net itself"
    if settings.get("previous_stage") or "cascade" in model.configuration:
        raise ConfigError(
            f"{where}: {model.configuration} is the second stage of a cascade, whose network sees "
            f"the first one's labels; import 3d_fullres or 3d_lowres, or {itself}"
        )
    if len(settings.get("patch_size", ())) != 3:
        raise ConfigError(
            f"{where}: {model.configuration} is not a 3D configuration; import 3d_fullres or "
            f"3d_lowres, or {itself}"
        )
    for key, known in (
        ("preprocessor_name", ("DefaultPreprocessor",)),
        ("resampling_fn_data", (_SPLINES, _LINEAR, _NONE)),
        ("resampling_fn_probabilities", (_SPLINES, _LINEAR, _NONE)),
    ):
        if settings.get(key, known[0]) not in known:
            raise ConfigError(f"{where}: {key} {settings[key]!r} is not run here; {itself}")
    reader = model.plans.get("image_reader_writer", "SimpleITKIO")
    if reader not in _READERS:
        raise ConfigError(f"{where}: its images are read by {reader}, not as volumes; {itself}")
    if model.plans.get("label_manager", "LabelManager") != "LabelManager":
        raise ConfigError(
            f"{where}: label_manager {model.plans['label_manager']!r} is not run here; {itself}"
        )


def _grid(model: NnunetModel, orientation: str | None) -> dict[str, Any]:
    turned = orientation or _READERS[model.plans.get("image_reader_writer", "SimpleITKIO")]
    settings = model.settings
    return {
        "transpose": [int(axis) for axis in model.plans.get("transpose_forward", (0, 1, 2))],
        "orientation": None if turned is None else turned.upper(),
        "resampling": _resampling(settings, "resampling_fn_data", 3, model),
        "restoring": _resampling(settings, "resampling_fn_probabilities", 1, model),
    }


def _resampling(
    settings: Mapping[str, Any], name: str, order: int, model: NnunetModel
) -> dict[str, Any]:
    said = dict(settings.get(f"{name}_kwargs") or {})
    found = {
        "order": order,
        "order_z": int(said.get("order_z", 0)),
        "separate_z": said.get("force_separate_z", False),
        "anisotropy": float(said.get("separate_z_anisotropy_threshold", 3)),
    }
    function = settings.get(name, _SPLINES)
    if function == _SPLINES:
        return {**found, "order": int(said.get("order", 3))}
    if function == _NONE:
        return {**found, "order": 1, "separate_z": False}
    modes = said.get("mode", "linear"), said.get("aniso_axis_mode", "nearest-exact")
    if modes != ("linear", "nearest-exact"):
        raise ConfigError(
            f"{model.folder}/plans.json: {name} in the modes {modes} is not run here; predict with "
            "nnU-Net itself"
        )
    return {**found, "order": 1, "order_z": 0, "separate_z": said.get("force_separate_z")}


def _intensity(model: NnunetModel) -> dict[str, Any]:
    schemes = list(model.settings["normalization_schemes"])
    masked = list(model.settings.get("use_mask_for_norm") or [False] * len(schemes))
    if len(schemes) != len(model.channels):
        raise ConfigError(
            f"{model.folder}: plans.json normalises {len(schemes)} channels, dataset.json has "
            f"{len(model.channels)}"
        )
    modes = [_mode(model, *one) for one in zip(model.channels, schemes, masked, strict=True)]
    if all(mode == modes[0] for mode in modes):
        return modes[0]
    return {"mode": "per_channel", "channels": modes}


def _mode(model: NnunetModel, channel: int, scheme: str, masked: bool) -> dict[str, Any]:
    if scheme == "CTNormalization":
        found = (
            model.plans.get("foreground_intensity_properties_per_channel")
            or model.plans.get("foreground_intensity_properties_by_modality")
            or {}
        )
        numbers = found.get(str(channel))
        if numbers is None:
            raise ConfigError(
                f"{model.folder}/plans.json: lacks the intensities of channel {channel}"
            )
        return {
            "mode": "ct_zscore",
            "low": float(numbers["percentile_00_5"]),
            "high": float(numbers["percentile_99_5"]),
            "mean": float(numbers["mean"]),
            "std": float(numbers["std"]),
        }
    if scheme not in _MODES:
        raise ConfigError(
            f"{model.folder}/plans.json: the normalisation {scheme} is not known here; predict "
            "with nnU-Net itself"
        )
    mode = _MODES[scheme]
    return {"mode": "zscore_nonzero" if mode == "zscore" and masked else mode}
