"""A bundle's metadata.json: what MONAI asks of a bundle, and the plan."""

from __future__ import annotations

from typing import Any

from ... import __version__
from ..config.values import CODE
from .plan import Plan

_SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
_VERSIONS = {"monai_version": "1.6.1", "pytorch_version": "2.13.0", "numpy_version": "2.4.6"}
_PACKAGES = {
    "highdicom": "0.28.2",
    "nibabel": "5.4.2",
    "pydicom": "3.0.2",
    "pytorch-ignite": "0.5.5",
    "scipy": "1.17.1",
    "SimpleITK": "2.5.7",
    "tensorboard": "2.21.0",
    "tqdm": "4.70.1",
}
"""The versions in constraints.txt, with which the bundles are tested."""
_APPS = {"monailabel": "0.8.5", "monai-deploy-app-sdk": "4.0.0"}
"""Tools that run the bundles as they are, in the versions that tests/interop runs them in."""

_COPYRIGHT = "Copyright (c) the Gridgate authors"
_COPYRIGHT_OF_OTHERS = "Of the weights: of the imported model's authors, under their licence"


def metadata(plan: Plan) -> dict[str, Any]:
    """The content of metadata.json; under "plan" the plan, but for its results.

    Text that a tool's parser would run, as of another's description, gets a space before it.
    """
    return {key: _no_code(value) for key, value in _facts(plan).items()}


def _no_code(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_code(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_no_code(one) for one in value]
    return f" {value}" if isinstance(value, str) and value.startswith(CODE) else value


def _facts(plan: Plan) -> dict[str, Any]:
    modality = plan.modality or "any modality"
    values = range(len(plan.labels)) if plan.region_values is None else [0, *plan.region_values]
    labels = ", ".join(f"{value} {name}" for value, name in zip(values, plan.labels, strict=True))
    channels = plan.labels if plan.region_values is None else plan.labels[1:]
    return {
        "schema": _SCHEMA,
        "version": plan.version,
        "changelog": plan.changelog or {plan.version: "first version"},
        **_VERSIONS,
        "required_packages_version": {"gridgate": __version__, **_PACKAGES},
        "supported_apps": dict(_APPS),
        "name": plan.title or plan.name,
        "task": plan.task,
        "description": plan.description,
        "authors": "Those of the imported model" if plan.is_foreign else "The Gridgate authors",
        "copyright": _COPYRIGHT_OF_OTHERS if plan.is_foreign else _COPYRIGHT,
        "data_source": plan.data_source,
        "data_type": "nibabel",
        "image_classes": f"{modality}, {plan.intensity['mode']} normalised",
        "label_classes": f"a label map: {labels}",
        "pred_classes": f"logits of {len(channels)} channels: {', '.join(channels)}",
        "eval_metrics": {},
        "intended_use": "Research; not a medical device and not for diagnosis.",
        "references": plan.references,
        "network_data_format": _network_data_format(plan),
        "plan": _said(plan),
        "fingerprint": plan.fingerprint,
    }


def _said(plan: Plan) -> dict[str, Any]:
    left_out = {"results"} | (set() if plan.nnunet else {"nnunet", "parts", "fast_resampling"})
    return {key: value for key, value in plan.to_dict().items() if key not in left_out}


def _network_data_format(plan: Plan) -> dict[str, Any]:
    window = {"spatial_shape": plan.roi_size, "dtype": "float32", "is_patch_data": True}
    names = ["image"] if plan.channels == 1 else [f"image_{i}" for i in range(plan.channels)]
    image = {
        "type": "image",
        "format": "hounsfield" if plan.modality == "CT" else "magnitude",
        "modality": plan.modality or "any",
        "num_channels": plan.channels,
        **window,
        "value_range": plan.value_range,
        "channel_def": {str(index): name for index, name in enumerate(names)},
    }
    channels = plan.labels if plan.region_values is None else plan.labels[1:]
    prediction = {
        "type": "image",
        "format": "segmentation",
        "num_channels": len(channels),
        **window,
        "value_range": [],
        "channel_def": {str(index): name for index, name in enumerate(channels)},
    }
    return {"inputs": {"image": image}, "outputs": {"pred": prediction}}
