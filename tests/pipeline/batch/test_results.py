"""Rows, hints, handlers, and what happens when memory runs out."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents

from gridgate.data.errors import ConfigError
from gridgate.data.walk import PassedOver
from gridgate.pipeline.batch.case import Case
from gridgate.pipeline.batch.evaluator import CasesFailedError
from gridgate.pipeline.batch.processor import CaseProcessor
from gridgate.pipeline.batch.reasons import reason
from gridgate.pipeline.batch.results import case_table
from gridgate.pipeline.inference.out_of_memory import is_out_of_memory
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.transforms import RestoreLabelsd, WriteLabelsd
from gridgate.transforms.postprocess import Postprocessing
from gridgate.transforms.restore.slabs import ScoreSlabs, Slab

from .threshold import LABELS, Read, Threshold, evaluator, run, table, write_scan


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, Any]]:
    for seed, name in enumerate("ab"):
        write_scan(tmp_path / "scans" / f"{name}.nii.gz", seed=seed)
    return [{"id": name, "image": str(tmp_path / "scans" / f"{name}.nii.gz")} for name in "ab"]


def test_a_dicom_seg_that_fails_is_a_column_and_a_hint(
    items: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def fail(data: Any) -> Any:
        return {**data, "dicom_seg_reason": "StudyDate is\n2020-01-01"}

    after = Postprocessing(RestoreLabelsd(), [fail, WriteLabelsd(output_dir=out)])
    for row in run(items, out, postprocess=after).values():
        assert row["status"] == "ok" and row["reason"] == ""
        assert row["dicom_seg_reason"] == "StudyDate is 2020-01-01"
        assert "no DICOM SEG was written" in row["hints"]
        assert (out / row["output"]).is_file()
    row = run(items, tmp_path / "other")["a"]
    assert row["dicom_seg_reason"] == "" and "DICOM SEG" not in row["hints"]


@pytest.mark.parametrize("doubt", ["intensities: all are within 0 to 1", "geometry: 1 mm guessed"])
def test_a_note_that_makes_values_or_place_doubtful_is_a_hint(
    doubt: str, items: list[dict[str, Any]], tmp_path: Path
) -> None:
    class Noted(Read):
        def __call__(self, data: Any) -> Any:
            result = super().__call__(data)
            result["image"].meta["notes"] = f"odd spacing; {doubt}"
            return result

    engine = evaluator(items, tmp_path / "out")
    engine.data_loader.dataset.transform = Noted()
    engine.run()
    row = table(tmp_path / "out")["a"]
    assert doubt in row["hints"] and "odd spacing" not in row["hints"]
    assert row["notes"] == f"odd spacing; {doubt}"
    assert int(row["hint_count"]) == len(row["hints"].split("; "))


def test_many_inputs_that_are_passed_over_cost_one_write(
    items: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(case_table.os, "fsync", synced.append)
    passed = [PassedOver(f"/scans/localizer {n}", "a localizer") for n in range(300)]
    run(items, tmp_path / "out", passed_over=passed)
    assert len(synced) < 20
    text = (tmp_path / "out" / "cases.csv").read_text()
    assert text.count("passed over") == 300
    run(items, tmp_path / "out", passed_over=passed)
    assert (tmp_path / "out" / "cases.csv").read_text().count("passed over") == 300


# handlers


def test_handlers_are_called_or_refused(items: list[dict[str, Any]], tmp_path: Path) -> None:
    engine = evaluator(items, tmp_path / "out")
    heard: list[Any] = []
    for event in (Events.STARTED, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
        engine.add_event_handler(event, lambda _, name: heard.append(name), event.name)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: heard.append(engine.state.output["case"])
    )
    engine.run()
    assert heard == ["STARTED", "EPOCH_STARTED", "a", "b", "EPOCH_COMPLETED", "COMPLETED"]


@pytest.mark.parametrize(
    "event",
    [IterationEvents.FORWARD_COMPLETED, IterationEvents.MODEL_COMPLETED, Events.ITERATION_STARTED],
)
def test_handlers_that_would_never_be_called_are_refused(
    event: Any, items: list[dict[str, Any]], tmp_path: Path
) -> None:
    engine = evaluator(items, tmp_path / "out")
    engine.add_event_handler(event, lambda: None)
    with pytest.raises(ConfigError, match=event.name):
        engine.run()
    assert not (tmp_path / "out").exists()


def test_metrics_of_monai_are_refused(items: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key_val_metric"):
        evaluator(items, tmp_path / "out", key_val_metric={"dice": object()})


# memory


def test_what_counts_as_out_of_memory() -> None:
    ran_out = [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4000000000000 bytes. Error code 12"
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you "
            "tried to allocate 8 bytes."
        ),
    ]
    for error in ran_out:
        wrapped = RuntimeError("applying transform")
        wrapped.__cause__ = error
        for one in (error, wrapped):
            assert is_out_of_memory(one) and reason(one).startswith("out of memory: ")
    for error in (
        RuntimeError("not enough memory of last week"),
        ValueError("DefaultCPUAllocator"),
    ):
        assert not is_out_of_memory(error) and reason(error).startswith("unexpected ")
    assert not is_out_of_memory(None)


def test_pytorch_s_own_error_on_a_cpu_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_second_try_is_free_of_the_first(items: list[dict[str, Any]]) -> None:
    """On a device whose memory runs out, accumulated in the machine's memory."""
    first: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    class Inferer(SlidingWindow):
        def slabs(self, image: Any, network: Any, *args: Any, **options: Any) -> ScoreSlabs:
            if options.get("accumulate_on") is not None:
                alive.append(first[0]() is not None)
                return super().slabs(image, network, *args, **options)

            def rows() -> Iterator[Slab]:
                large = torch.zeros(1000)
                first.append(weakref.ref(large))
                yield Slab(0, torch.zeros(4, *image.shape[2:], 2))
                raise torch.OutOfMemoryError(f"CUDA out of memory after {len(large)}")

            return ScoreSlabs(tuple(image.shape[1:]), 0, rows)

    processor = CaseProcessor(
        transform=Read(),
        network=Threshold(),
        inferer=Inferer((8, 8, 8), amp=False),
        postprocessing=RestoreLabelsd(),
        labels=LABELS,
        output_dir=Path(),
        device="cpu:0",  # on the processor, but treated as a device with memory of its own
    )
    work = processor.read(Case.of(items[0]))
    gc.disable()
    try:
        processor.segment(work)
    finally:
        gc.enable()
    assert alive == [False]
    assert work.error is None and work.data["pred"].shape == (1, 12, 12, 12)


def test_out_of_memory_is_one_case_s_failure(items: list[dict[str, Any]], tmp_path: Path) -> None:
    class Large(Threshold):
        calls = 0

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls == 1:
                torch.empty(2**62, dtype=torch.uint8)
            return super().forward(windows)

    engine = evaluator(
        items, tmp_path / "out", network=Large(), inferer=SlidingWindow((8, 8, 8), sw_batch_size=1)
    )
    with pytest.raises(CasesFailedError, match="a: out of memory"):
        engine.run()
    found = table(tmp_path / "out")
    assert found["a"]["status"] == "failed" and found["b"]["status"] == "ok"
