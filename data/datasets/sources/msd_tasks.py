"""The ten tasks of the Medical Segmentation Decathlon: what is published of each.

The facts are those of the archives' own dataset.json, as published with the challenge
(http://medicaldecathlon.com; Antonelli et al., Nature Communications 13, 4128, 2022), whose numbers
of cases differ a little from the paper's; addresses and MD5 checksums are those that MONAI's
DecathlonDataset uses. What an archive's dataset.json says wins over the facts here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ConfigError

BASE_ADDRESS = "https://msd-for-monai.s3-us-west-2.amazonaws.com"
LICENCE = "CC-BY-SA 4.0"


@dataclass(frozen=True)
class Task:
    """What is published of a task.

    Args:
        name: as the archive's.
        channels: its modality, one per channel.
        labels: name -> value.
        training, tests: how many cases.
        gigabytes: size of the archive, about.
        md5: of the archive.
    """

    name: str
    channels: tuple[str, ...]
    labels: dict[str, int]
    training: int
    tests: int
    gigabytes: float
    md5: str


def _task(
    name: str, channels: str, labels: str, cases: tuple[int, int], gigabytes: float, md5: str
) -> Task:
    named = {label: value for value, label in enumerate(labels.split(", "), start=1)}
    return Task(name, tuple(channels.split(", ")), named, *cases, gigabytes, md5)


TASKS: tuple[Task, ...] = (
    _task(
        "Task01_BrainTumour",
        "FLAIR, T1w, t1gd, T2w",
        "edema, non-enhancing tumor, enhancing tumour",
        (484, 266),
        7.1,
        "240a19d752f0d9e9101544901065d872",
    ),
    _task("Task02_Heart", "MRI", "left atrium", (20, 10), 0.4, "06ee59366e1e5124267b774dbd654057"),
    _task(
        "Task03_Liver", "CT", "liver, cancer", (131, 70), 27.0, "a90ec6c4aa7f6a3d087205e23d4e6397"
    ),
    _task(
        "Task04_Hippocampus",
        "MRI",
        "Anterior, Posterior",
        (260, 130),
        0.03,
        "9d24dba78a72977dbd1d2e110310f31b",
    ),
    _task(
        "Task05_Prostate", "T2, ADC", "PZ, TZ", (32, 16), 0.2, "35138f08b1efaef89d7424d2bcc928db"
    ),
    _task("Task06_Lung", "CT", "cancer", (63, 32), 8.5, "8afd997733c7fc0432f71255ba4e52dc"),
    _task(
        "Task07_Pancreas",
        "CT",
        "pancreas, cancer",
        (281, 139),
        11.5,
        "4f7080cfca169fa8066d17ce6eb061e4",
    ),
    _task(
        "Task08_HepaticVessel",
        "CT",
        "Vessel, Tumour",
        (303, 140),
        8.8,
        "641d79e80ec66453921d997fbf12a29c",
    ),
    _task("Task09_Spleen", "CT", "spleen", (41, 20), 1.5, "410d4a301da4e5b2f6f86ec3ddba524e"),
    _task(
        "Task10_Colon",
        "CT",
        "colon cancer primaries",
        (126, 64),
        5.9,
        "bad7a188931dc2f6acf72b08eb6202d0",
    ),
)


def task_named(name: str) -> Task:
    """The task of a name such as Task09_Spleen; Spleen, spleen and 9 will do.

    Raises:
        ConfigError: no such task; the text is the table of all.

    >>> task_named("spleen").name, task_named("Task09_Spleen").training
    ('Task09_Spleen', 41)
    """
    wanted = name.strip().lower()
    for task in TASKS:
        number, _, short = task.name.lower().partition("_")
        if wanted in (task.name.lower(), short, number, number[4:], number[4:].lstrip("0")):
            return task
    raise ConfigError(f"{name!r} is no task of the Decathlon; there are\n{facts_table()}")


def facts_table() -> str:
    """The ten tasks as lines of text: name, modality, labels, cases, size."""
    rows = [("task", "modality", "labels", "cases", "tests", "archive")]
    for task in TASKS:
        rows.append(
            (
                task.name,
                ", ".join(task.channels),
                ", ".join(task.labels),
                str(task.training),
                str(task.tests),
                f"about {task.gigabytes:g} GB",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, f"licence: {LICENCE}"])
