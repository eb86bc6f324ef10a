"""An evaluation in shards: the tables are those of one run."""

import json
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.shared_folder import SharedFolder
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.evaluation.lesions import Lesion, LesionMetrics
from gridgate.pipeline.evaluation.metrics import METRICS, LabelMetrics, not_annotated
from gridgate.pipeline.evaluation.shards import (
    CaseMeasures,
    ShardMeasures,
    measured_by_shards,
)

from ..small_bundle import evaluate


def tables(folder: Path) -> tuple[list[str], dict[str, Any]]:
    lines = (folder / "metrics.csv").read_text().splitlines()
    return lines, json.loads((folder / "summary.json").read_text())


@pytest.mark.slow
def test_shards_together_measure_what_one_run_measures(
    phantom_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    options = {"part": "all", "checkpoint": str(weights(phantom_dataset, tmp_path))}
    evaluate(phantom_dataset, tmp_path / "whole", **options)
    evaluate(phantom_dataset, out, shard="2/2", **options)
    assert tables(out)[1]["missing"] == 3
    assert main(["merge", str(out), "--report", "no"]) == 1, "cases are missing"
    assert "6 cases: 3 done, 3 not yet" in capsys.readouterr().err
    assert tables(out)[1]["cases"] == 3
    evaluate(phantom_dataset, out, shard="1/2", **options)
    assert tables(out) == tables(tmp_path / "whole") and "missing" not in tables(out)[1]
    measured = sum(len(p.read_text().split()) > 0 for p in records(out))
    assert measured == 2
    # again: nothing is measured anew
    before = {path: path.read_bytes() for path in records(out)}
    evaluate(phantom_dataset, out, shard="1/2", **options)
    assert {path: path.read_bytes() for path in records(out)} == before
    assert tables(out) == tables(tmp_path / "whole")


def records(out: Path) -> list[Path]:
    return sorted((out / ".gridgate/shards").glob("measures-*.jsonl"))


def weights(dataset: Path, folder: Path) -> Path:
    from ..small_bundle import train

    train(dataset, folder / "trained", epochs=1, folds=1)
    return folder / "trained/models/model.pt"


def test_measures_come_back_as_they_were(tmp_path: Path) -> None:
    lesion = LesionMetrics((Lesion(1.5, 0.0, 0.0, 0.0, (1.0, -2.0, 3.5)),))
    numbers = {name: 0.1 + number for number, name in enumerate(METRICS)}
    rows = (
        LabelMetrics("liver", 1, **numbers, tolerance_mm=3.0),
        LabelMetrics("tumour", 2, **numbers, lesions=lesion),
        not_annotated("spleen", 3),
    )
    (tmp_path / "mask").write_bytes(b"mask")
    with SharedFolder(tmp_path) as folder, folder.gate():
        store = ShardMeasures(folder, how="a", settings={}, post_processing=None, checkpoint="c")
        store.add("1-of-2", CaseMeasures("x", rows), [tmp_path / "mask"])
        store.add("1-of-2", CaseMeasures("y", failed="why"), [tmp_path / "mask"])
        found = measured_by_shards(folder, store.key)
        assert repr(found["x"].rows) == repr(rows)  # NaN is not equal to itself
        assert found["y"] == CaseMeasures("y", failed="why")
        with open(folder.records / "measures-1-of-2.jsonl", "ab") as stream:
            stream.write(b'\n{"key": "')  # cut off by a kill
        store.add("1-of-2", CaseMeasures("z"), [tmp_path / "mask"])
        assert set(measured_by_shards(folder, store.key)) == {"x", "y", "z"}
        assert measured_by_shards(folder, "measured otherwise") == {}
        (tmp_path / "mask").write_bytes(b"another mask")
        assert measured_by_shards(folder, store.key) == {}
