"""A bundle planned from a dataset's fingerprint, and its record: plan.json and fingerprint.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from ...data.datasets.fingerprint.numbers import Fingerprint, fingerprint_text
from ...data.errors import ConfigError
from ...networks import network_facts
from ..plans.new_bundle import RECORDS, write_new_bundle
from ..plans.plan import Plan
from ..plans.plan_settings import OF_PLANNING, with_settings
from ..plans.training_numbers import check_training
from .decisions.decision import GIVEN, Decision
from .decisions.grid import decide_orientation, decide_spacing, spacing_of_windows
from .decisions.intensity import decide_body_threshold, decide_intensity, decide_modality
from .decisions.labels import (
    decide_expected,
    decide_foreground_share,
    decide_keep_largest,
    decide_mirror_axes,
)
from .decisions.network import decide_network
from .decisions.running import decide_test_mirror_axes
from .measures.machine import Machine
from .measures.pace import OVERLAP, Pace
from .measures.trial import Candidate
from .network_plan import NetworkPlan, asked_by, settings_of

FILE, _FINGERPRINT_FILE = RECORDS

_NNUNET = (
    "Isensee et al. nnU-Net: a self-configuring method for deep learning-based biomedical image "
    "segmentation. Nature Methods 18, 203-211, 2021."
)
_TRAINING: dict[str, Any] = {
    "num_workers": None,
    "accumulation_steps": 1,
    "weight_decay": 0.01,
    "patience": 0,
    "loss": "dice_ce_nnunet",
}


@dataclass(frozen=True)
class PlannedBundle:
    """A plan, and how it came about.

    Args:
        plan: complete.
        decisions: in the order in which they were taken.
        fingerprint: of the dataset.
        pace: of the training, where it was measured.
    """

    plan: Plan
    decisions: tuple[Decision, ...]
    fingerprint: Fingerprint
    pace: Pace | None = None

    def record(self) -> dict[str, Any]:
        """The content of plan.json."""
        return {
            "dataset": self.fingerprint.dataset,
            "cases": len(self.fingerprint.cases),
            "fingerprint": self.plan.fingerprint,
            "pace": None if self.pace is None else asdict(self.pace),
            "decisions": [
                {"name": one.name, "value": one.value, "reason": one.reason}
                for one in self.decisions
            ],
        }


def plan_bundle(
    fingerprint: Fingerprint,
    machine: Machine,
    *,
    name: str,
    network: str | None = None,
    size: str | None = None,
    spacing: Decision | None = None,
    settings: Mapping[str, Any] | None = None,
) -> PlannedBundle:
    """Decide everything that a bundle needs.

    Args:
        name: of the bundle.
        network, size: of networks.registry, "small" or "paper"; None are decided too.
        spacing: decided already, as that of half resolution.
        settings: of the plan, by id, which are not decided: {"roi_size": [64, 64, 64],
            "training::epochs": 100}.

    Raises:
        ConfigError: no such network or setting; nothing fits into the memory or the time.
    """
    given = dict(settings or {})
    _check_orientation(given)
    data = [
        decide_modality(fingerprint),
        decide_orientation(),
        spacing or _said(given, "spacing") or decide_spacing(fingerprint),
        decide_intensity(fingerprint),
    ]
    spaced = spacing_of_windows(data[2].value, fingerprint)
    chosen = NetworkPlan.of(
        decide_network(network, size, machine), fingerprint, machine, spaced, given
    )
    if size is None and not settings_of("network", given):
        chosen = chosen.wider(fingerprint, machine, spaced, given)
    candidate, pace = chosen.candidate, chosen.pace
    asked = asked_by(candidate.name, chosen.value("size"))
    mirroring = _said(given, "mirror_axes") or decide_mirror_axes(fingerprint)
    mirrored_runs = _said(given, "test_mirror_axes") or decide_test_mirror_axes(
        mirroring.value, pace
    )
    pace = None if pace is None else pace.with_flips(mirrored_runs.value or [])
    decisions = [
        *data,
        *chosen.network,
        _deep_supervision(candidate),
        *chosen.training,
        mirroring,
        mirrored_runs,
        decide_foreground_share(fingerprint),
        decide_keep_largest(fingerprint),
        decide_expected(fingerprint),
        decide_body_threshold(fingerprint),
    ]
    values = _settings(fingerprint, name, candidate, decisions, asked)
    values = with_settings(values, given, said_by=OF_PLANNING)
    check_training(values["training"])
    plan = Plan.from_dict(values)
    return PlannedBundle(plan, tuple(_overridden(decisions, given)), fingerprint, pace)


_OF_AXES = ("spacing", "roi_size", "mirror_axes")


def _check_orientation(given: Mapping[str, Any]) -> None:
    """Refuse axes in another order than x, y, z, in which spacings and windows are decided.

    Raises:
        ConfigError: they are, and one of these three is left to be decided.
    """
    letters = str(given.get("orientation") or "RAS").upper()
    order = ["xyz"["RLAPSI".index(one) // 2] for one in letters if one in "RLAPSI"]
    missing = [name for name in _OF_AXES if name not in given]
    if order != ["x", "y", "z"] and missing:
        raise ConfigError(
            f"--orientation {letters}: its axes are not x, y, z, in whose order "
            f"{', '.join(missing)} would be decided; give {'it' if len(missing) == 1 else 'them'}, "
            "too, in the order of these axes"
        )


def write_planned(planned: PlannedBundle, folder: str | Path) -> Path:
    """Write the bundle with its record; it is there complete, or not at all.

    Raises:
        ConfigError: the folder exists.
        OutputError: it cannot be written.
    """
    record = json.dumps(planned.record(), indent=1, ensure_ascii=False) + "\n"
    more = {FILE: record, _FINGERPRINT_FILE: fingerprint_text(planned.fingerprint)}
    return write_new_bundle(planned.plan, folder, more)


def read_decisions(bundle: str | Path) -> list[Decision]:
    """The decisions that a bundle's plan.json tells.

    Raises:
        ConfigError: there is no such file, or it is not one of ours.
    """
    path = Path(bundle) / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [Decision(one["name"], one["value"], one["reason"]) for one in content["decisions"]]
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is none; only bundles that `gridgate plan` made have one"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: cannot be read as a plan's record ({error})") from error


def measured_voxels(bundle: str | Path) -> float:
    """Voxels of all cases that a bundle was planned for, each counted for each of its labels.

    0 where the bundle does not tell.
    """
    try:
        content = json.loads((Path(bundle) / _FINGERPRINT_FILE).read_text(encoding="utf-8"))
        voxels = sum(prod(case["shape"]) for case in content["cases"])
        return float(voxels * (len(content["labels"]) - 1))
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _settings(
    fingerprint: Fingerprint,
    name: str,
    candidate: Candidate,
    decisions: list[Decision],
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """The plan's settings, by what was decided."""
    found = {one.name: one.value for one in decisions}
    facts = network_facts(candidate.name)
    duration = ("epochs", "iterations_per_epoch", "val_interval", "learning_rate")
    training = {
        **_TRAINING,
        **asked,
        **{key: found[key] for key in (*duration, "warmup_iterations", "average_decay")},
        "batch_size": found["batch_size"],
        "augmentation": {
            "rotation_probability": 0.3,
            "scale_probability": 0.3,
            "foreground": found["augmentation::foreground"],
        },
    }
    names = ", ".join(fingerprint.foreground)
    return {
        "name": name,
        "title": f"{fingerprint.dataset}, {facts.title}",
        "description": f"{facts.title} for {fingerprint.dataset}, planned from the data by "
        "`gridgate plan`; plan.json says why.",
        "changelog": {"0.1.0": "planned"},
        "task": f"Segmentation of {names}",
        "data_source": fingerprint.dataset,
        "dataset": fingerprint.dataset,
        "references": [facts.reference, _NNUNET],
        "modality": found["modality"],
        "value_range": [-5, 5],
        "labels": list(fingerprint.labels),
        "channels": len(fingerprint.channels),
        "orientation": found["orientation"],
        "spacing": found["spacing"],
        "roi_size": found["roi_size"],
        "intensity": found["intensity"],
        "foreground": None,
        "overlap": OVERLAP,
        "mirror_axes": found["mirror_axes"],
        "test_mirror_axes": found["test_mirror_axes"],
        "thresholds": None,
        "keep_largest": found["keep_largest"],
        "smallest_piece": None,
        "body_threshold": found["body_threshold"],
        "expected": found["expected"],
        "merge_labels": {},
        "terminology": {},
        "output_channels": None,
        "region_values": None
        if fingerprint.region_values is None
        else list(fingerprint.region_values),
        "network": candidate.architecture(found["roi_size"]),
        "training": training,
        "results": "Not measured yet.",
    }


def _deep_supervision(candidate: Candidate) -> Decision:
    heads = candidate.heads()
    if heads > 1:
        why = f"{candidate.name} has {heads} outputs, coarse ones too, and each is scored"
        return Decision("deep_supervision", True, why)
    return Decision("deep_supervision", False, f"{candidate.name} has one output")


def _said(given: Mapping[str, Any], name: str) -> Decision | None:
    return Decision(name, given[name], GIVEN) if name in given else None


def _overridden(decisions: list[Decision], given: Mapping[str, Any]) -> list[Decision]:
    """The decisions, with what was given in the place of what had been decided."""
    plain = {key.removeprefix("training::"): value for key, value in given.items()}
    known = {one.name for one in decisions}
    kept = [
        Decision(one.name, plain[one.name], GIVEN) if one.name in plain else one
        for one in decisions
    ]
    more = [Decision(key, value, GIVEN) for key, value in plain.items() if key not in known]
    return [*kept, *more]
