"""Bundles from plans: `python -m gridgate.pipeline.plans.generate` writes every committed bundle again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from .bundle_folders import bundles_folder
from .planning import PLANS, read_plan

TEMPLATE = bundles_folder() / "template"
_INCLUDE = re.compile(r"^<<include (\S+)>>\n", re.MULTILINE)
_PLACE = re.compile(r"<<(\w+)>>")
_EXPONENT = re.compile(r"(?<![\w.])(\d+)e(?=[-+]?\d)")


def bundle_files(plan: dict[str, Any]) -> dict[str, str]:
    """Every file of a plan's bundle: relative path -> text.

    Raises:
        ConfigError: the plan lacks a setting that the template names.
    """
    try:
        files = {
            "configs/metadata.json": json.dumps(metadata(plan), indent=4, ensure_ascii=False) + "\n"
        }
        values = {
            **plan,
            **plan["training"],
            "validation_overlap": _at_most(plan["overlap"], 0.25),  # for speed
            "plan_table": _plan_table(plan),
            "reference_list": "\n".join(f"- {reference}" for reference in plan["references"]),
        }
    except KeyError as error:
        raise ConfigError(f"plan {plan.get('name', '')}: lacks {error}") from error
    for path in sorted(TEMPLATE.glob("*/*")):
        if path.parent.name != "parts":
            files[f"{path.parent.name}/{path.name}"] = _filled(
                path.read_text(), values, plan["name"]
            )
    files["LICENSE"] = (TEMPLATE / "LICENSE").read_text()
    return files


def _at_most(overlap: float | list[float], share: float) -> float | list[float]:
    return (
        [min(one, share) for one in overlap] if isinstance(overlap, list) else min(overlap, share)
    )


def make_bundle(plan: dict[str, Any], target: str | Path) -> Path:
    """Write a plan's bundle into a folder; files that are there are replaced, others stay."""
    for name, text in bundle_files(plan).items():
        path = Path(target) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path(target)


def metadata(plan: dict[str, Any]) -> dict[str, Any]:
    """metadata.json: what MONAI asks of a bundle, and under "plan" what the data decide."""
    labels = list(plan["labels"])
    modality = plan["modality"]
    low, high = plan.get("value_range", [0, 1])
    patch = {"spatial_shape": plan["roi_size"], "dtype": "float32", "is_patch_data": True}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
        "meta_schema_20240725.json",
        "version": plan["version"],
        "changelog": plan["changelog"],
        "monai_version": "1.6.1",
        "pytorch_version": "2.13.0",
        "numpy_version": "2.4.6",
        "required_packages_version": {
            "gridgate": "0.1.0",
            "connected-components-3d": "4.1.1",
            "highdicom": "0.28.2",
            "nibabel": "5.4.2",
            "pydicom": "3.0.2",
            "pytorch-ignite": "0.5.5",
            "scipy": "1.17.1",
            "SimpleITK": "2.5.7",
            "tensorboard": "2.21.0",
            "tqdm": "4.70.1",
        },
        "supported_apps": {},
        "name": plan["title"],
        "task": plan["task"],
        "description": plan["description"],
        "authors": "The Gridgate authors",
        "copyright": "Copyright (c) the Gridgate authors",
        "data_source": plan["data_source"],
        "data_type": "nibabel",
        "image_classes": f"{modality}, {plan['intensity']['mode']} normalised",
        "label_classes": "a label map: "
        + ", ".join(f"{value} {name}" for value, name in enumerate(labels)),
        "pred_classes": f"logits of {len(labels)} channels: " + ", ".join(labels),
        "eval_metrics": {},
        "intended_use": "Research; not a medical device and not for diagnosis.",
        "references": plan["references"],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield" if modality == "CT" else "magnitude",
                    "modality": modality,
                    "num_channels": 1,
                    **patch,
                    "value_range": [low, high],
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": len(labels),
                    **patch,
                    "value_range": [],
                    "channel_def": {str(value): name for value, name in enumerate(labels)},
                }
            },
        },
        "plan": {
            key: plan[key]
            for key in (
                "merge_labels",
                "network",
                "orientation",
                "spacing",
                "intensity",
                "foreground",
                "mirror_axes",
                "overlap",
                "keep_largest",
                "body_threshold",
                "expected",
            )
        },
    }


def _plan_table(plan: dict[str, Any]) -> str:
    network = dict(plan["network"])
    name = network.pop("name")
    options = ", ".join(f"{key} {value}" for key, value in network.items()) or "defaults"
    intensity = dict(plan["intensity"])
    mode = intensity.pop("mode")
    rows = {
        "labels": ", ".join(f"{value} {label}" for value, label in enumerate(plan["labels"])),
        "network": f"{name} ({options})",
        "grid": f"{plan['orientation']}, {' x '.join(str(mm) for mm in plan['spacing'])} mm",
        "intensity": " ".join([mode, *(f"{key} {value}" for key, value in intensity.items())]),
        "window": " x ".join(str(size) for size in plan["roi_size"])
        + f" voxels, overlap {plan['overlap']}",
        "mirroring in training": f"axes {plan['mirror_axes']} of {plan['orientation']}",
    }
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
    )


def _filled(text: str, values: dict[str, Any], name: str) -> str:
    text = _INCLUDE.sub(lambda found: (TEMPLATE / "parts" / found[1]).read_text(), text)

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ConfigError(f"plan {name}: lacks {found[1]!r}")
        given = values[found[1]]
        # YAML 1.1 takes json's 1e-05 for text, 1.0e-05 for a number
        return (
            given.strip() if isinstance(given, str) else _EXPONENT.sub(r"\1.0e", json.dumps(given))
        )

    return _PLACE.sub(value, text)


def main() -> None:
    """Write every committed bundle again from its plan."""
    for path in sorted(PLANS.glob("*.yaml")):
        folder = bundles_folder() / path.stem
        shutil.rmtree(folder / "configs", ignore_errors=True)
        make_bundle(read_plan(path), folder)
        print(folder)


if __name__ == "__main__":
    main()
