"""Labels that a fold's parts lack, against label maps whose labels are counted by hand."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.transforms import Compose

from gridgate.pipeline.training.label_occurrence import (
    LabelOccurrence,
    Occurrence,
    occurrence,
    train_hints,
    validation_hints,
)
from gridgate.pipeline.training.windows.cases import CachedCases
from gridgate.transforms import ClassIndicesd

from .windows.stored_cases import whole, windows

LABELS = ["background", "liver", "spleen", "aorta"]


class Labelled:
    """Makes a case's label map of the values that its item names; a transform."""

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        label = torch.zeros(1, 4, 4, 4)
        label[0, 0, 0, : len(item["values"])] = torch.tensor(item["values"]).float()
        made: dict[str, Any] = {"id": item["id"], "image": torch.zeros(1, 4, 4, 4), "label": label}
        if "annotated" in item:
            made["annotated"] = torch.tensor([True, *item["annotated"]])
        return made


def cases(*values: Any, annotated: Any = None, listed: bool = False, regions: bool = False) -> Any:
    items = [{"id": str(at), "values": list(one)} for at, one in enumerate(values)]
    for item, there in zip(items, annotated or [], strict=False):
        item["annotated"] = there
    lists = [ClassIndicesd("label", label_count=4, regions=regions)] if listed else []
    return CachedCases(items, transform=Compose([Labelled(), *lists]))


@pytest.mark.parametrize("listed", [False, True], ids=["label maps", "lists of voxels"])
def test_labels_are_counted_per_case(listed: bool) -> None:
    found = occurrence(cases([1, 1, 2], [1], [-1, 1], listed=listed), 3)
    assert found == Occurrence(3, (3, 1, 0), (3, 3, 3))


@pytest.mark.parametrize("listed", [False, True])
def test_bits_of_regions_are_counted(listed: bool) -> None:
    """Values 3 and 5 are the regions 1 and 2, and 1 and 3; -1 holds none."""
    found = occurrence(cases([3], [5, 4], [-1], listed=listed, regions=True), 3, regions=True)
    assert found.present == (2, 1, 1)


def test_a_label_that_is_not_annotated_counts_as_absent() -> None:
    data = cases([1, 2], [1], annotated=[(True, False, False), (True, True, False)])
    assert occurrence(data, 3) == Occurrence(2, (2, 0, 0), (2, 1, 0))


@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "on disk"])
def test_real_cases(phantom_dataset: Path, tmp_path: Path, stored: bool) -> None:
    """Each phantom has all six organs."""
    cache = tmp_path if stored else None
    for data in (windows(phantom_dataset, cache), whole(phantom_dataset, cache, part="validation")):
        found = occurrence(data, 6)
        assert data.on_disk is stored
        assert found == Occurrence(len(data), (len(data),) * 6, (len(data),) * 6)


def test_what_is_said_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine = Engine(lambda engine, batch: None)
    LabelOccurrence(
        labels=LABELS,
        train_dataset=cases([1, 2], [1], [1], [1], listed=True),
        validation_dataset=cases([1], [1, 3]),
        fold=2,
    ).attach(engine)
    engine.run([0])
    said = [(one.levelname, one.getMessage()) for one in caplog.records if "fold 2" in one.message]
    assert said == [
        (
            "INFO",
            "spleen occurs in only 1 of the 4 training cases of fold 2: it will hardly be learnt",
        ),
        ("WARNING", "aorta occurs in none of the 4 training cases of fold 2: it cannot be learnt"),
        (
            "WARNING",
            "spleen occurs in none of the 2 validation cases of fold 2: its Dice cannot be "
            "measured here; another fold or split may have it",
        ),
    ]
    assert [hint.text for hint in engine.state.label_hints] == [text for _, text in said]  # type: ignore[attr-defined]


def test_where_none_is_held_out_no_fold_is_named(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(lambda engine, batch: None)
    given = {"train_dataset": cases([1, 2, 3]), "validation_dataset": cases()}
    LabelOccurrence(labels=[*LABELS, "pancreas"], **given).attach(engine)
    engine.run([0])
    (told,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert told == "pancreas occurs in none of the 1 training cases: it cannot be learnt"


def test_what_nobody_drew_is_told_as_that() -> None:
    found = Occurrence(5, (0,), (0,))
    assert "annotated in none of the 5 training cases" in train_hints(found, ["liver"], 0)[0].text
    assert "annotated in none of the 5 validation" in validation_hints(found, ["liver"], 0)[0].text


def test_small_datasets_are_not_told_that_they_are_small() -> None:
    assert not train_hints(Occurrence(2, (2, 2), (2, 2)), ["a", "b"], 0)


def test_other_datasets_and_other_processes_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for options in (
        {"train_dataset": [1], "validation_dataset": [2]},
        {"train_dataset": cases([1]), "validation_dataset": cases([1]), "tells": False},
    ):
        engine = Engine(lambda engine, batch: None)
        LabelOccurrence(labels=LABELS, **options).attach(engine)  # type: ignore[arg-type]
        engine.add_event_handler(Events.COMPLETED, lambda: None)
        engine.run([0])
    assert not [one for one in caplog.records if one.name.endswith("label_occurrence")]
