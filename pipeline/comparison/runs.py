"""A run's numbers: case, label and metric, from tables of ours, of other tools, and nnU-Net's."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError, DatasetError

BETTER = {
    "dice": True,
    "iou": True,
    "precision": True,
    "recall": True,
    "specificity": True,
    "nsd": True,
    "lesion_f1": True,
    "panoptic_quality": True,
    "lesion_dice": True,
    "hd_mm": False,
    "hd95_mm": False,
    "assd_mm": False,
    "centre_distance_mm": False,
    "volume_error_ml": False,
    "volume_error_percent": False,
}
"""Metrics that runs are compared by, and whether more is better. Volume errors count as amounts."""

_OTHER_NAMES = {
    "case": ("case", "case_id", "id", "subject", "patient", "name", "filename", "image"),
    "label": ("label", "class", "organ", "structure", "label_name", "roi"),
    "dice": ("dice", "dsc", "dice_score", "dice_coefficient"),
    "iou": ("iou", "jaccard"),
    "precision": ("precision", "ppv"),
    "recall": ("recall", "sensitivity", "tpr"),
    "specificity": ("specificity", "tnr"),
    "nsd": ("nsd", "surface_dice", "normalized_surface_dice"),
    "hd_mm": ("hd_mm", "hd", "hausdorff", "hausdorff_distance"),
    "hd95_mm": ("hd95_mm", "hd95", "hausdorff95", "hausdorff_95"),
    "assd_mm": ("assd_mm", "assd", "asd", "average_surface_distance"),
}
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
_NNUNET = "metric_per_case"


@dataclass(frozen=True)
class Run:
    """What a run measured.

    Args:
        name: as it is told.
        source: its table.
        numbers: metric -> label -> case -> number, NaN where it is not defined.
        values: label -> its value in the masks, where the table says it.
    """

    name: str
    source: Path
    numbers: Mapping[str, Mapping[str, Mapping[str, float]]]
    values: Mapping[str, int] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """Those there are, in the order of BETTER."""
        return [name for name in BETTER if name in self.numbers]

    @property
    def labels(self) -> list[str]:
        """Those there are, in the table's order."""
        return list(dict.fromkeys(label for of in self.numbers.values() for label in of))

    @property
    def cases(self) -> list[str]:
        """Those there are, sorted."""
        return sorted({c for of in self.numbers.values() for by in of.values() for c in by})

    def renamed(self, labels: Mapping[str, str]) -> Run:
        """The run with other names of labels; those that are left out stay."""
        numbers = {
            metric: {labels.get(label, label): by_case for label, by_case in of.items()}
            for metric, of in self.numbers.items()
        }
        values = {labels.get(label, label): value for label, value in self.values.items()}
        return Run(self.name, self.source, numbers, values)


def read_runs(paths: Sequence[str | Path], names: Sequence[str] | None = None) -> list[Run]:
    """The runs of some folders or tables.

    Args:
        paths: of each an evaluation's folder (its metrics.csv, or nnU-Net's summary.json), or a
            table: a .csv with a row per case and label, or nnU-Net's summary.json. nnU-Net's
            labels, which are numbers, get the names that another run's table has for them.
        names: of the runs; None for the folders' names.

    Raises:
        ConfigError: names that are not as many as the paths, or of which two are the same.
        DatasetError: a table cannot be read, or holds nothing that is compared.
    """
    files = [_table(Path(path)) for path in paths]
    told = _names(files) if names is None else list(names)
    if len(told) != len(files) or len(set(told)) != len(told):
        raise ConfigError(f"{len(files)} runs need as many different names, not {told}")
    runs = [
        (_of_nnunet if file.suffix == ".json" else _of_csv)(file, name)
        for file, name in zip(files, told, strict=True)
    ]
    known = _names_of_values(runs)
    named = [run.renamed(known) if run.source.suffix == ".json" else run for run in runs]
    return _with_the_same_words(named)


def _names_of_values(runs: Sequence[Run]) -> dict[str, str]:
    """Value as text -> label, for runs that know their labels as values alone.

    Raises:
        DatasetError: such a run is there, and two others name a value differently.
    """
    found: dict[str, tuple[str, Path]] = {}
    for run in runs:
        for label, value in run.values.items():
            before, source = found.setdefault(str(value), (label, run.source))
            if _plain(before) != _plain(label) and any(
                one.source.suffix == ".json" for one in runs
            ):
                raise DatasetError(
                    f"{source} calls the value {value} {before}, {run.source} calls it {label}: "
                    "nnU-Net's summary.json has values alone, and it is not clear what they mean; "
                    "compare it with runs of one labelling"
                )
    return {value: label for value, (label, _) in found.items()}


def shared_cases(runs: Sequence[Run], metric: str, label: str) -> list[str]:
    """The cases of which all runs have a number there, sorted."""
    by_run = [run.numbers.get(metric, {}).get(label, {}) for run in runs]
    return [
        case
        for case in sorted(by_run[0])
        if not any(math.isnan(by_case.get(case, math.nan)) for by_case in by_run)
    ]


def shared_labels(runs: Sequence[Run], metric: str) -> list[str]:
    """The labels that all runs have measured, in the order of the first."""
    return [
        label
        for label in runs[0].numbers.get(metric, {})
        if all(label in run.numbers.get(metric, {}) for run in runs)
    ]


def labels_left_out(runs: Sequence[Run], metrics: Sequence[str]) -> list[str]:
    """A sentence per run with labels that not all runs have."""
    shared = {label for metric in metrics for label in shared_labels(runs, metric)}
    alone = [(run, [label for label in run.labels if label not in shared]) for run in runs]
    return [
        f"{run.name}: not compared, as not all runs have it: {', '.join(labels)}"
        for run, labels in alone
        if labels
    ]


def _with_the_same_words(runs: Sequence[Run]) -> list[Run]:
    """The runs with the label names of the first that has them; case and signs make no other."""
    first: dict[str, str] = {}
    for run in runs:
        for label in run.labels:
            first.setdefault(_plain(label), label)
    found = []
    for run in runs:
        names = {label: first[_plain(label)] for label in run.labels}
        found.append(run.renamed(names) if len(set(names.values())) == len(names) else run)
    return found


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", "_", label.strip().lower())


def _table(path: Path) -> Path:
    """The file of a run."""
    if path.is_dir():
        found = [path / name for name in ("metrics.csv", "summary.json") if (path / name).is_file()]
        if not found:
            raise DatasetError(
                f"{path}: holds neither metrics.csv nor summary.json; give the folder of an "
                "evaluation, or a table"
            )
        return found[0]
    if path.suffix not in (".csv", ".json"):
        raise DatasetError(f"{path}: a folder, a .csv or nnU-Net's summary.json is wanted")
    return path


def _names(files: Sequence[Path]) -> list[str]:
    """The shortest ends of the files' folders by which they differ."""
    places = [
        file.parent if file.stem in ("metrics", "summary") else file.with_suffix("")
        for file in files
    ]
    if len({file.resolve() for file in files}) < len(files):
        told = ", ".join(map(str, files))
        raise ConfigError(f"one of {told} is given twice; compare different runs")
    if len({place.resolve() for place in places}) < len(places):  # a .csv beside a .json
        places = list(files)
    parts = [place.resolve().parts for place in places]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _of_csv(file: Path, name: str) -> Run:
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    values: dict[str, int] = {}
    try:
        # with or without the mark that spreadsheets put first
        with open(file, newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            columns = _columns(file, reader.fieldnames or [])
            for row in reader:
                case, label = _case(row[columns["case"]] or ""), row[columns["label"]]
                if not case or label is None:
                    raise DatasetError(
                        f"{file}: line {reader.line_num} has no case or no label; take out lines "
                        "that are none of a case, such as averages"
                    )
                if (value := _whole(row.get("value"))) is not None:
                    values[label] = value
                for metric, column in columns.items():
                    if metric in BETTER:
                        by_case = numbers.setdefault(metric, {}).setdefault(label, {})
                        if case in by_case:
                            raise DatasetError(f"{file}: has two rows of {case} and {label}")
                        by_case[case] = _number(file, metric, row[column])
    except (OSError, csv.Error) as error:
        raise DatasetError(f"{file}: cannot be read ({error})") from error
    return _checked(Run(name, file, numbers, values))


def _whole(text: str | None) -> int | None:
    """A label's value; None where a column of that name holds something else."""
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _columns(file: Path, names: Sequence[str]) -> dict[str, str]:
    """What we call a column -> what the table calls it."""
    known = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in names}
    found: dict[str, str] = {}
    for ours in ("case", "label", *BETTER):
        for other in (ours, *_OTHER_NAMES.get(ours, ())):
            if other in known and ours not in found:
                found[ours] = known[other]
    missing = [name for name in ("case", "label") if name not in found]
    if missing:
        raise DatasetError(
            f"{file}: has no column for {' and '.join(missing)}; a row per case and label with the "
            f"columns case, label and metrics such as dice is wanted, not {', '.join(names)}"
        )
    return found


def _number(file: Path, metric: str, text: str | None) -> float:
    try:
        number = float(text) if text else math.nan
    except ValueError as error:
        raise DatasetError(f"{file}: {metric} {text!r} is no number") from error
    return number if math.isfinite(number) else math.nan  # infinite: not defined


def _case(text: str) -> str:
    """A case's id: a file's name without folder and ending."""
    name = text.replace("\\", "/").rsplit("/", 1)[-1]
    for ending in _ENDINGS:
        if name.endswith(ending):
            return name[: -len(ending)]
    return name


def _of_nnunet(file: Path, name: str) -> Run:
    """nnU-Net's summary.json: counts and Dice per case and label's value."""
    numbers: dict[str, dict[str, dict[str, float]]] = {}
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        for row in told[_NNUNET]:
            case = _case(str(row["prediction_file"]))
            for value, measured in row["metrics"].items():
                for metric, count in _NNUNET_METRICS.items():
                    by_case = numbers.setdefault(metric, {}).setdefault(str(value), {})
                    number = count(measured)
                    by_case[case] = number if math.isfinite(number) else math.nan
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{file}: is no summary.json of nnU-Net with {_NNUNET!r} ({error!r}); of an evaluation "
            "of Gridgate give the folder"
        ) from error
    return _checked(Run(name, file, numbers))


def _share(part: str, whole: tuple[str, str]) -> Callable[[Mapping[str, Any]], float]:
    def share(measured: Mapping[str, Any]) -> float:
        total = float(measured[whole[0]]) + float(measured[whole[1]])
        return float(measured[part]) / total if total else math.nan

    return share


_NNUNET_METRICS: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "dice": lambda measured: float(measured["Dice"]),
    "iou": lambda measured: float(measured["IoU"]),
    "precision": _share("TP", ("TP", "FP")),
    "recall": _share("TP", ("TP", "FN")),
    "specificity": _share("TN", ("TN", "FP")),
}


def _checked(run: Run) -> Run:
    if not run.numbers:
        raise DatasetError(f"{run.source}: holds no metric that is compared: {', '.join(BETTER)}")
    return run
