"""The page of a training: what it says while it runs and after, and how often it is written."""

import csv
import logging
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.handlers import ValidationHandler

from gridgate.pipeline.plans.plan import Plan, example_plan
from gridgate.pipeline.reports.pictures.chart import Chart, Line, ticks
from gridgate.pipeline.reports.training_page import handler as page_handler
from gridgate.pipeline.reports.training_page.content import Standing, TrainingRun, training_page
from gridgate.pipeline.reports.training_page.handler import TrainingPage
from gridgate.pipeline.training.engine.soundness import TrainingError
from gridgate.pipeline.training.handlers import TrainingRecord

from ..training.small_trainer import network, trainer, validator

NOW = datetime(2026, 1, 2, 3, 4, 5)


def rows(count: int, labels: list[str]) -> list[dict[str, str]]:
    return [
        {
            "epoch": str(at),
            "iteration": str(100 * at),
            "seconds": str(61.0 * at),
            "loss": str(1 / at),
            "learning_rate": "0.001",
            "dice_mean": str(at / (count + 1)),
            **{f"dice_{name}": str(at / (count + 1)) for name in labels},
        }
        for at in range(1, count + 1)
    ]


def page(labels: list[str], count: int = 3, **standing: Any) -> str:
    run = TrainingRun(
        title="Liver <CT>",
        data="A training on D.",
        labels=labels,
        rows=rows(count, labels),
        hints=[("aorta occurs in none of the cases", True)],
        settings=[("network", "unet")],
        machine=[("versions", "torch 2")],
        command="gridgate train B 'my data' O",
        go_on="the same command with --resume True goes on with it",
    )
    told: dict[str, Any] = {
        "running": True,
        "text": "",
        "failed": False,
        "epoch": count,
        "epochs": 30,
        "iteration": 100 * count,
        "began": NOW - timedelta(minutes=3),
        "now": NOW,
        "ends": NOW + timedelta(minutes=27),
    }
    return training_page(run, Standing(**{**told, **standing}), refresh=40).decode()


class Outside(HTMLParser):
    """What a page would load from somewhere, and whether its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = [value for name, value in attributes if name in ("src", "href", "srcset")]
        self.loaded += [value or "" for value in given if not (value or "").startswith("data:")]
        if tag not in ("meta", "link", "img", "source", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_running_page_loads_itself_again_and_nothing_else() -> None:
    text = page(["liver", "spleen"])
    assert '<meta http-equiv="refresh" content="40">' in text
    assert "2026-01-02 03:31:05" in text and "--resume True" in text and "27 min 00 s" in text
    read = Outside(text)
    assert read.loaded == [] and read.open == []
    assert "<script" not in text and "Liver &lt;CT&gt;" in text
    assert "aorta occurs in none of the cases." in text
    assert "prefers-color-scheme: dark" in text


def test_an_ended_page_stays_as_it_is() -> None:
    text = page(["liver"], running=False, text="It ran to its end, epoch 30 of 30.", ends=None)
    assert "http-equiv" not in text and "ran to its end" in text and "expected end" not in text


def test_the_table_has_the_latest_validations_and_each_label() -> None:
    text = page(["liver", "left_kidney"], count=40)
    epochs = [int(one) for one in re.findall(r'<th scope="row">(\d+)</th>', text)]
    assert epochs == list(range(40, 28, -1)) and "28 earlier ones" in text
    assert "left kidney" in text and "0.976" in text  # 40 / 41


def test_many_labels_have_a_row_each() -> None:
    labels = [f"organ_{at}" for at in range(30)]
    text = page(labels)
    assert text.count('<th scope="row">organ ') == 30
    assert text.count("<polyline") == 30 + 3


def test_without_a_case_held_out_there_is_no_dice() -> None:
    labels = [f"organ_{at}" for at in range(30)]
    found = [
        {name: "nan" if "dice" in name else text for name, text in row.items()}
        for row in rows(3, labels)
    ]
    run = TrainingRun(
        title="T",
        data="Trained on all 5 cases of D; none was held out",
        labels=labels,
        rows=found,
        hints=[],
        settings=[],
        machine=[],
        command="gridgate train",
        go_on="",
        validated=False,
    )
    standing = Standing(
        running=False, text="", failed=False, epoch=3, epochs=3, iteration=300, began=NOW, now=NOW
    )
    text = training_page(run, standing, refresh=40).decode()
    assert "none was held out" in text and "not measured" in text and "3 min 03 s" in text
    assert "mean Dice" not in text and "organ" not in text
    assert text.count("<polyline") == 2  # of the loss and of the learning rate
    assert "0.333" in text  # the third epoch's loss


def test_a_line_is_drawn_where_its_values_are() -> None:
    """By hand: x from 0 to 200 takes the axis, y from 0 to 1 the height."""
    chart = Chart(
        "Dice", [Line("a", [(100, 0.5), (200, 1.0), (150, float("nan"))])], y_range=(0, 1)
    )
    middle = (chart.left + chart.right) / 2
    half = (chart.top + chart.bottom) / 2
    assert chart.path(chart.lines[0]) == f"{middle},{half} {chart.right:.1f},{chart.top:.1f}"
    assert [text for _, text in chart.y_ticks] == ["0.00", "0.25", "0.50", "0.75", "1.00"]


@pytest.mark.parametrize("most", [0.001, 0.003, 0.7, 1, 37, 2250, 1e6])
def test_ticks_are_round_and_few(most: float) -> None:
    found = ticks(0, most, 5)
    assert 2 <= len(found) <= 5 and found[0] == 0 and found[-1] <= most * 1.0001
    texts = [text for _, text in Chart("", [Line("", [(1, most)])]).y_ticks]
    assert len(set(texts)) == len(texts) and all(len(text) <= 7 for text in texts)


# the handler


def training(folder: Path, *, epochs: int = 2, at: Any = None, said: Any = None) -> Any:
    """A small training with a page; what `said` does happens when an epoch begins."""
    net = network()
    check = validator(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    plan = Plan.from_dict({**example_plan(), "labels": ["background", "a", "b"]})
    engine = trainer(
        net,
        max_epochs=epochs,
        optimizer=optimizer,
        train_handlers=[
            ValidationHandler(interval=1, validator=check),
            TrainingRecord(folder, validator=check, optimizer=optimizer, labels=["a", "b"]),
            TrainingPage(
                folder,
                validator=check,
                plan=plan,
                dataset_dir="/data/livers",
                train_dataset=[1, 2],
                validation_dataset=[3],
            ),
        ],
    )
    if said is not None:
        engine.add_event_handler(Events.EPOCH_STARTED(once=at), said)
    return engine


def test_a_training_keeps_its_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen: list[str] = []
    training(tmp_path, at=1, said=lambda: seen.append((tmp_path / "report.html").read_text())).run()
    text = (tmp_path / "report.html").read_text()
    assert "http-equiv" in seen[0] and "0 of 2" in seen[0] and "<polyline" not in seen[0]
    assert "ran to its end, epoch 2 of 2" in text and "http-equiv" not in text
    with open(tmp_path / "metrics_train.csv", newline="") as file:
        best = max(float(row["dice_mean"]) for row in csv.DictReader(file))
    assert f"<dd>{best:.3f}</dd>" in text and "livers" in text and "torch " in text
    assert str(tmp_path / "report.html") in caplog.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), "stopped in epoch 2 of 2; the same command with --resume True"),
        (TrainingError("the loss is NaN"), "failed in epoch 2 of 2: the loss is NaN"),
        (ZeroDivisionError("by zero"), "failed in epoch 2 of 2: ZeroDivisionError: by zero"),
    ],
)
def test_a_training_that_does_not_end_well_says_so(
    tmp_path: Path, error: BaseException, told: str
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        training(tmp_path, at=2, said=fail).run()
    text = (tmp_path / "report.html").read_text()
    assert told in text and "http-equiv" not in text and "1 of 2" in text


def test_a_page_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    training(tmp_path).run()
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_page_that_cannot_be_made_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("a bug")

    monkeypatch.setattr(page_handler, "training_page", broken)
    engine = training(tmp_path)
    engine.run()
    assert engine.state.epoch == 2
    assert caplog.text.count("no page from here on: a bug") == 1


def test_it_is_written_at_most_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of 10 s: at the beginning, each 20 s, and at the end; dear pages more seldom."""
    clock, written, cost = [0.0], [], [0.0]

    def write(*_: Any) -> None:
        written.append(clock[0])
        clock[0] += cost[0]

    def later() -> None:
        clock[0] += 10.0

    monkeypatch.setattr(page_handler.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(page_handler, "write_result", write)
    for cost[0], most in ((0.0, 20), (1.0, 4)):
        written.clear()
        engine = training(tmp_path, epochs=40)
        engine.add_event_handler(Events.EPOCH_STARTED, later)
        engine.run()
        assert most - 2 <= len(written) <= most + 2
        assert all(b - a >= 20 for a, b in pairwise(written[:-1]))
