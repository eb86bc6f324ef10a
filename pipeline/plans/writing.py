"""Bundles from plans: `python -m gridgate.pipeline.plans.writing` writes the committed ones."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.exceptions import UndefinedError

from ...data.errors import ConfigError
from ...data.files import write_atomically
from ..config.twins import twin_text
from .bundle_folders import bundles_folder
from .metadata import metadata
from .plan import Plan
from .planning import PLANS, read_plan, read_weights_texts
from .shipped_weights import ShippedWeights, shipped_weights

TEMPLATE = bundles_folder() / "template"
_PAGE, _NNUNET_PAGE, _IMPORTED_PAGE = (
    "docs/README.md",
    "parts/nnunet_page.md",
    "parts/imported_page.md",
)
_OF_TRAINING = ("configs/train.yaml", "configs/multi_gpu_train.yaml")
_EXPONENT = re.compile(r"(?<![\w.])(\d+)e(?=[-+]?\d)")


def bundle_files(
    plan: Plan, *, trained: bool = False, shipped: ShippedWeights | None = None
) -> dict[str, str]:
    """Every file of a plan's bundle but its weights: relative path -> text.

    Args:
        trained: the page says that weights come with it.
        shipped: of a bundle that comes with Gridgate and has weights: what its page says of them.

    Raises:
        ConfigError: the plan lacks a setting that the template names.
    """
    files = {
        "configs/metadata.json": json.dumps(metadata(plan), indent=4, ensure_ascii=False) + "\n"
    }
    values = {
        **plan.to_dict(),
        "trained": trained or shipped is not None,
        "shipped": shipped,
        "validation_overlap": _at_most(plan.overlap, 0.25),  # for speed
        "plan_table": _plan_table(plan),
        "reference_list": "\n".join(f"- {reference}" for reference in plan.references),
    }
    environment = _environment()
    for path in sorted(TEMPLATE.glob("*/*")):
        name = f"{path.parent.name}/{path.name}"
        if path.parent.name != "parts" and not (plan.is_foreign and name in _OF_TRAINING):
            template = _page_of(plan) if name == _PAGE else name
            try:
                files[name] = environment.get_template(template).render(values)
            except UndefinedError as error:
                missing = str(error).partition("attribute ")[2] or str(error)
                raise ConfigError(f"plan {plan.name}: lacks {missing}") from error
    for name in [name for name in files if name.endswith(".yaml")]:
        files[name.removesuffix(".yaml") + ".json"] = twin_text(files[name])
    files["LICENSE"] = (TEMPLATE / "LICENSE").read_text(encoding="utf-8")
    return files


def _page_of(plan: Plan) -> str:
    if not plan.is_foreign:
        return _PAGE
    return _NNUNET_PAGE if plan.nnunet else _IMPORTED_PAGE


def committed_files(plan_file: Path) -> dict[str, str]:
    """Every file of the bundle that comes with Gridgate for a plan file, but its weights.

    Raises:
        ConfigError: no plan; or weights lie in the bundle's folder that are not of this plan.
    """
    plan = read_plan(plan_file)
    folder = bundles_folder() / plan_file.stem
    shipped = shipped_weights(folder, plan, read_weights_texts(plan_file))
    return bundle_files(plan, shipped=shipped)


def write_bundle(plan: Plan, target: str | Path, *, trained: bool = False) -> Path:
    """Write a plan's bundle into a folder; its files that are there are replaced, others stay.

    Raises:
        OutputError: a file cannot be written.
        ConfigError: the plan lacks a setting.
    """
    _write_files(bundle_files(plan, trained=trained), Path(target))
    return Path(target)


def _write_files(files: Mapping[str, str], target: Path) -> None:
    for name, text in files.items():
        write_atomically(target / name, partial(_write, text))


def _write(text: str, stream: BinaryIO) -> None:
    stream.write(text.encode())


def _environment() -> Environment:
    """Jinja2 with marks that YAML, JSON and Markdown leave alone: <<value>>, <% statement %>."""
    return Environment(
        loader=FileSystemLoader(TEMPLATE),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=_as_text,
        autoescape=False,  # what is written is YAML and Markdown
    )


def _as_text(value: Any) -> Any:
    """Text as it is, other values as YAML in one line."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, StrictUndefined):
        return value
    return _yaml(value)


def _yaml(value: Any) -> str:
    """JSON, which YAML reads too, but for numbers: 1e-05 is text in YAML 1.1, 1.0e-05 a number."""
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(k), ensure_ascii=False)}: {_yaml(v)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(one) for one in value)}]"
    text = json.dumps(value, ensure_ascii=False)
    return _EXPONENT.sub(r"\1.0e", text) if isinstance(value, float) else text


def _at_most(overlap: float | list[float], share: float) -> float | list[float]:
    if isinstance(overlap, list):
        return [min(one, share) for one in overlap]
    return min(overlap, share)


def _plan_table(plan: Plan) -> str:
    intensity = dict(plan.intensity)
    mode = intensity.pop("mode")
    spacing = "the scan's own spacing"
    if plan.spacing is not None:
        spacing = " x ".join(str(mm) for mm in plan.spacing) + " mm"
    window = " x ".join(str(size) for size in plan.roi_size)
    values = range(len(plan.labels)) if plan.region_values is None else [0, *plan.region_values]
    labels = [f"{value} {label}" for value, label in zip(values, plan.labels, strict=True)]
    rows = {
        "labels": ", ".join(labels) + ("" if plan.region_values is None else " (they overlap)"),
        "network": _network_text(plan.network),
        "grid": f"{plan.orientation or _nnunet_axes(plan)}, {spacing}",
        "intensity": " ".join([mode, *(f"{key} {value}" for key, value in intensity.items())]),
        "window": f"{window} voxels, overlap {plan.overlap}",
        **_thresholds_row(plan),
        **_mirroring_row(plan),
        "fingerprint": f"`{plan.fingerprint}`",
    }
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
    )


def _nnunet_axes(plan: Plan) -> str:
    turned = (plan.nnunet or {}).get("orientation")
    told = f"turned to {turned} first" if turned else "as the scan is stored"
    order = [("z", "y", "x")[axis] for axis in (plan.nnunet or {}).get("transpose", (0, 1, 2))]
    return f"axes {', '.join(order)}, {told}"


def _mirroring_row(plan: Plan) -> dict[str, str]:
    if plan.is_foreign:
        return {"mirroring when it is run": f"axes {plan.test_mirror_axes} of the network's grid"}
    return {"mirroring in training": f"axes {plan.mirror_axes} of {plan.orientation}"}


def _thresholds_row(plan: Plan) -> dict[str, str]:
    if plan.thresholds is None:
        return {}
    told = zip(plan.labels[1:], plan.thresholds, strict=True)
    return {"thresholds": ", ".join(f"{label} {threshold}" for label, threshold in told)}


def _network_text(network: Mapping[str, Any]) -> str:
    options = dict(network)
    if "options" in options:  # nnU-Net's many
        said = options.pop("options")
        options |= {"stages": said.get("n_stages"), "features": said.get("features_per_stage")}
    name, members = options.pop("name"), options.pop("members", None)
    if members is not None:
        # a part's stands beside the number of its channels
        texts = [_network_text(member.get("architecture", member)) for member in members]
        counted = [f"{texts.count(text)} of {text}" for text in dict.fromkeys(texts)]
        if members and "architecture" in members[0]:
            return f"one after another: {', '.join(counted)}"
        what = "" if options.get("mean") != "logits" else "logits' "
        return f"{name}, the {what}mean of {', '.join(counted)}"
    told = ", ".join(f"{key} {value}" for key, value in options.items())
    return f"{name} ({told or 'defaults'})"


def main() -> None:
    """Write every committed bundle again from its plan; weights stay, and are of their plans.

    Raises:
        ConfigError: weights are of another plan than their bundle's; nothing is written then.
    """
    made = {path.stem: committed_files(path) for path in sorted(PLANS.glob("*.yaml"))}
    for name, files in made.items():
        folder = bundles_folder() / name
        shutil.rmtree(folder / "configs", ignore_errors=True)
        _write_files(files, folder)
        print(folder)


if __name__ == "__main__":
    main()
