"""Bundles from plans: `python -m gridgate.bundles.generate` writes every committed bundle again.

A plan names a dataset (datasets/<name>.yaml: what the data decide) and a network (networks.yaml: its paper, its options
for two sizes), and says what this bundle has of its own.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from ..data.errors import ConfigError
from ..networks import network_options
from . import FOLDER

TEMPLATE = FOLDER / "template"
PLANS = FOLDER / "plans"
DATASETS = FOLDER / "datasets"
NETWORK_FACTS = FOLDER / "networks.yaml"
SIZES = ("paper", "small")
_DATASET_KEYS = (
    *("title", "task", "data_source", "modality", "labels", "orientation", "spacing", "roi_size", "intensity"),
    *("foreground", "mirror_axes", "overlap", "merge_labels", "keep_largest", "body_threshold", "expected", "training"),
)
_INCLUDE = re.compile(r"^<<include (\S+)>>\n", re.MULTILINE)
_PLACE = re.compile(r"<<(\w+)>>")
_EXPONENT = re.compile(r"(?<![\w.])(\d+)e(?=[-+]?\d)")


def read_plan(path: str | Path) -> dict[str, Any]:
    """A plan file, complete: with its dataset's and network's settings under its own. The bundle takes the file's name.

    Raises:
        ConfigError: not a mapping, or it names a dataset or network that is not there.
    """
    return complete({"name": Path(path).stem, **_mapping(Path(path), "a plan")})


def new_plan(
    network: str, dataset: str, *, size: str = "small", spatial_dims: int = 3, name: str | None = None
) -> dict[str, Any]:
    """The plan of a network for a dataset, complete.

    Args:
        network: a name in networks.registry.
        dataset: a name in datasets/, or the path of such a file.
        size: "paper" for the paper's widths, "small" for what trains on two CPU cores.
        spatial_dims: 2 for the 2D network, which takes the volumes slice by slice.

    Raises:
        ConfigError: a name that is not there (the text lists those there are), or a file that is no mapping.
    """
    facts = network_facts(network)
    if size not in SIZES:
        raise ConfigError(f"size {size!r} is not one of {', '.join(SIZES)}")
    if spatial_dims not in (2, 3):
        raise ConfigError(f"spatial_dims is {spatial_dims}: networks are built for 2 or 3")
    widths = "with MONAI's default widths" if facts["title"].startswith("MONAI's") else "with the paper's widths"
    whose = widths if size == "paper" else "sized for two CPU cores"
    options, suffix = facts[size], ""
    training = facts.get(f"{size}_training", {})
    if spatial_dims == 2:
        options = {"spatial_dims": 2, **facts.get(f"{size}_2d", options)}
        training = facts.get(f"{size}_2d_training", training)
        whose, suffix = f"{whose}, 2D and slice by slice", "_2d"
    plan: dict[str, Any] = {
        "name": name or f"{Path(dataset).stem}_{network}{suffix}",
        "version": "0.1.0",
        "changelog": {"0.1.0": "first version"},
        "dataset": dataset,
        "description": f"{facts['title']} {whose}, for {dataset_facts(dataset)['title']}.",
        "network": {"name": network, **options},
        "training": training,
        "results": "Not measured yet.",
    }
    return complete(plan)


def complete(plan: dict[str, Any]) -> dict[str, Any]:
    """A plan with the settings of its dataset and network under its own; img_size is the window unless it is given.

    Raises:
        ConfigError: it lacks its dataset or network, or one is not there.
    """
    if not {"dataset", "network"} <= plan.keys():
        raise ConfigError(f"plan {plan.get('name', '')}: names no dataset, or no network")
    axes = plan["network"].get("spatial_dims", 3)
    data, facts = _of_axes(dataset_facts(plan["dataset"]), axes), network_facts(plan["network"].get("name"))
    title = f"{data['title']}, {facts['title']}"
    result = data | {"title": title, "references": [facts["reference"], *data.get("references", [])]} | plan
    result["training"] = {**data["training"], **facts.get("training", {}), **plan.get("training", {})}
    if "img_size" in network_options(plan["network"]["name"]):
        window = result["roi_size"][:axes] if isinstance(result["roi_size"], list) else result["roi_size"]
        result["network"] = {**plan["network"], "img_size": plan["network"].get("img_size", window)}
    return result


def _of_axes(data: dict[str, Any], axes: int) -> dict[str, Any]:
    """A dataset's settings for networks of 2 or 3 axes."""
    data = dict(data)
    window = data.pop("roi_size_2d", data["roi_size"])
    if axes == 2:  # slices see nothing of one another, so that windows need not overlap there
        share = data["overlap"]
        data |= {"roi_size": window, "overlap": [*(share[:2] if isinstance(share, list) else [share] * 2), 0.0]}
    return data


def dataset_names() -> list[str]:
    """The datasets that plans can name."""
    return sorted(path.stem for path in DATASETS.glob("*.yaml"))


def dataset_facts(name: str) -> dict[str, Any]:
    """What the data decide: of a name in datasets/, or of such a file of the user's.

    Raises:
        ConfigError: there is none (the text lists those there are), or the file is no mapping, or lacks something.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else DATASETS / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"no dataset is called {name!r}; there are: {', '.join(dataset_names())}; or give a YAML file like those "
            f"in {DATASETS}"
        )
    facts = _mapping(path, "a dataset")
    missing = [key for key in _DATASET_KEYS if key not in facts]
    if missing:
        raise ConfigError(f"{path}: lacks {', '.join(missing)}; see the files in {DATASETS}")
    strangers = sorted(set(facts["expected"] or {}) - set(facts["labels"]))
    if strangers:
        raise ConfigError(f"{path}: expected speaks of {', '.join(strangers)}, which are not among the labels")
    return facts


def network_facts(name: Any) -> dict[str, Any]:
    """What networks.yaml says of a network.

    Raises:
        ConfigError: there is none of that name; the text lists those there are.
    """
    known: dict[str, dict[str, Any]] = yaml.safe_load(NETWORK_FACTS.read_text())
    if name not in known:
        try:
            network_options(str(name))
        except ValueError as error:  # with the nearest name
            raise ConfigError(str(error)) from error
    return known[name]


def _mapping(path: Path, kind: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as {kind} ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: {kind} is a mapping of settings")
    return found


def bundle_files(plan: dict[str, Any]) -> dict[str, str]:
    """Every file of a plan's bundle: relative path -> text.

    Raises:
        ConfigError: the plan lacks a setting that the template names.
    """
    try:
        files = {"configs/metadata.json": json.dumps(metadata(plan), indent=4, ensure_ascii=False) + "\n"}
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
            files[f"{path.parent.name}/{path.name}"] = _filled(path.read_text(), values, plan["name"])
    files["LICENSE"] = (TEMPLATE / "LICENSE").read_text()
    return files


def _at_most(overlap: float | list[float], share: float) -> float | list[float]:
    return [min(one, share) for one in overlap] if isinstance(overlap, list) else min(overlap, share)


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
        "label_classes": "a label map: " + ", ".join(f"{value} {name}" for value, name in enumerate(labels)),
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
        "window": " x ".join(str(size) for size in plan["roi_size"]) + f" voxels, overlap {plan['overlap']}",
        "mirroring in training": f"axes {plan['mirror_axes']} of {plan['orientation']}",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _filled(text: str, values: dict[str, Any], name: str) -> str:
    text = _INCLUDE.sub(lambda found: (TEMPLATE / "parts" / found[1]).read_text(), text)

    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            raise ConfigError(f"plan {name}: lacks {found[1]!r}")
        given = values[found[1]]
        # YAML 1.1 takes json's 1e-05 for text, 1.0e-05 for a number
        return given.strip() if isinstance(given, str) else _EXPONENT.sub(r"\1.0e", json.dumps(given))

    return _PLACE.sub(value, text)


def main() -> None:
    """Write every committed bundle again from its plan."""
    for path in sorted(PLANS.glob("*.yaml")):
        folder = FOLDER / path.stem
        shutil.rmtree(folder / "configs", ignore_errors=True)
        make_bundle(read_plan(path), folder)
        print(folder)


if __name__ == "__main__":
    main()
