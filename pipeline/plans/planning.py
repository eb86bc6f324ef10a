"""Plans, complete: what a bundle decides itself, over what its dataset and its network decide.

A plan names a dataset (datasets/<name>.yaml: what the data decide) and a network (whose facts say
its paper and its options for several sizes), and says what this bundle has of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from ... import networks
from ...data.errors import ConfigError
from ..config.values import read_yaml
from .bundle_folders import bundles_folder
from .plan import Plan
from .training_numbers import check_training
from .windows import check_grid, check_kinds, refuse_words

FOLDER = bundles_folder()
PLANS = FOLDER / "plans"
DATASETS = FOLDER / "datasets"
SIZES = ("paper", "medium", "small")
_WEIGHTS = "weights"
_DATASET_KEYS = (
    *(
        "title",
        "task",
        "data_source",
        "modality",
        "labels",
        "orientation",
        "spacing",
        "roi_size",
        "intensity",
    ),
    *(
        "foreground",
        "mirror_axes",
        "overlap",
        "merge_labels",
        "keep_largest",
        "body_threshold",
        "expected",
        "training",
    ),
)


def read_plan(path: str | Path) -> Plan:
    """A plan file, with its dataset's and network's settings under its own.

    The bundle takes the file's name. What the file says of weights is no part of the plan, see
    `read_weights_texts`.

    Raises:
        ConfigError: not a mapping, or it names a dataset or network that is not there.
    """
    settings = read_mapping(Path(path), "a plan")
    settings.pop(_WEIGHTS, None)
    return Plan.from_dict(complete({"name": Path(path).stem, **settings}))


def read_weights_texts(path: str | Path) -> dict[str, Any]:
    """What a plan file says of the weights that come with its bundle, under `weights`.

    Raises:
        ConfigError: not a mapping.
    """
    said = read_mapping(Path(path), "a plan").get(_WEIGHTS) or {}
    if not isinstance(said, dict):
        raise ConfigError(f"{path}: weights is a mapping of texts")
    return said


def new_plan_settings(
    network: str,
    dataset: str,
    *,
    size: str = "small",
    spatial_dims: int = 3,
    name: str | None = None,
) -> dict[str, Any]:
    """The settings of the plan of a network for a dataset, complete.

    Args:
        network: a name in networks.registry.
        dataset: a name in datasets/, or the path of such a file.
        size: "paper" for the paper's widths, "small" for what trains on two CPU cores, "medium" for
            one in between, which few networks have.
        spatial_dims: 2 for the 2D network, which takes the volumes slice by slice.

    Raises:
        ConfigError: a name that is not there (the text lists those there are), or a file that is no
            mapping; the network has no such size.
    """
    facts = network_settings(network)
    if size not in SIZES or size not in facts:
        sizes = ", ".join(one for one in SIZES if one in facts)
        raise ConfigError(f"size {size!r}: {network} has {sizes}")
    if spatial_dims not in (2, 3):
        raise ConfigError(f"spatial_dims is {spatial_dims}: networks are built for 2 or 3")
    widths = (
        "with MONAI's default widths"
        if facts["title"].startswith("MONAI's")
        else "with the paper's widths"
    )
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
    """A plan's settings, with those of its dataset and network under its own.

    img_size is the window unless it is given.

    Raises:
        ConfigError: it lacks its dataset or network, or one is not there.
    """
    if not {"dataset", "network"} <= plan.keys():
        raise ConfigError(f"plan {plan.get('name', '')}: names no dataset, or no network")
    axes = plan["network"].get("spatial_dims", 3)
    data, facts = (
        _of_axes(dataset_facts(plan["dataset"]), axes),
        network_settings(plan["network"].get("name")),
    )
    title = f"{data['title']}, {facts['title']}"
    result = (
        data
        | {"title": title, "references": [facts["reference"], *data.get("references", [])]}
        | plan
    )
    result["training"] = {
        **data["training"],
        **facts.get("training", {}),
        **plan.get("training", {}),
    }
    if "img_size" in networks.network_options(plan["network"]["name"]):
        window = (
            result["roi_size"][:axes]
            if isinstance(result["roi_size"], list)
            else result["roi_size"]
        )
        result["network"] = {**plan["network"], "img_size": plan["network"].get("img_size", window)}
    return result


def _of_axes(data: dict[str, Any], axes: int) -> dict[str, Any]:
    """A dataset's settings for networks of 2 or 3 axes."""
    data = dict(data)
    window = data.pop("roi_size_2d", data["roi_size"])
    if axes == 2:  # slices see nothing of one another, so that windows need not overlap there
        share = data["overlap"]
        data |= {
            "roi_size": window,
            "overlap": [*(share[:2] if isinstance(share, list) else [share] * 2), 0.0],
        }
    return data


def dataset_names() -> list[str]:
    """The datasets that plans can name."""
    return sorted(path.stem for path in DATASETS.glob("*.yaml"))


def dataset_facts(name: str) -> dict[str, Any]:
    """What the data decide: of a name in datasets/, or of such a file of the user's.

    Raises:
        ConfigError: there is none (the text lists those there are), or the file is no mapping, or
            lacks something.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else DATASETS / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"no dataset is called {name!r}; there are: {', '.join(dataset_names())}; or give a "
            "YAML file like those "
            f"in {DATASETS}"
        )
    facts = read_mapping(path, "a dataset")
    missing = [key for key in _DATASET_KEYS if key not in facts]
    if missing:
        raise ConfigError(f"{path}: lacks {', '.join(missing)}; see the files in {DATASETS}")
    _check_facts(facts, path)
    strangers = sorted(set(facts["expected"] or {}) - set(facts["labels"]))
    if strangers:
        raise ConfigError(
            f"{path}: expected speaks of {', '.join(strangers)}, which are not among the labels"
        )
    return facts


def _check_facts(facts: Mapping[str, Any], path: Path) -> None:
    """Refuse values of a dataset's file that no plan takes, and name the file."""
    for key, kind, wanted in (("labels", list, "a list"), ("training", Mapping, "a mapping")):
        if not isinstance(facts[key], kind):
            raise ConfigError(f"{path}: {key} {facts[key]!r}: {wanted} is wanted")
    try:
        check_kinds(facts)
        check_grid(facts["spacing"], facts["roi_size"])
        refuse_words(facts["training"], of="training")
        check_training(facts["training"])
    except ConfigError as error:
        raise ConfigError(f"{path}: {str(error).removeprefix('--')}") from error


def network_settings(name: Any) -> dict[str, Any]:
    """What a network says of itself (networks.facts.NetworkFacts), but for what it leaves out.

    Raises:
        ConfigError: there is none of that name; the text lists those there are.
    """
    try:
        facts = asdict(networks.network_facts(str(name)))
    except ValueError as error:  # with the nearest name
        raise ConfigError(str(error)) from error
    return {key: value for key, value in facts.items() if value is not None}


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """A file of settings, YAML 1.2 or JSON.

    Args:
        kind: what it is, for the error's text.

    Raises:
        ConfigError: it cannot be read, or is no mapping.
    """
    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as {kind} ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: {kind} is a mapping of settings")
    return found
