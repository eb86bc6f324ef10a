"""How a training begins: what it asks of PyTorch, and how many processes draw its windows."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from gridgate.data.errors import DatasetError
from gridgate.pipeline.plans.bundle_folders import bundle_path
from gridgate.pipeline.plans.plan import Plan
from gridgate.pipeline.plans.resolved import bundle_plan
from gridgate.pipeline.plans.writing import write_bundle
from gridgate.pipeline.training import run as training
from gridgate.pipeline.training.kernels import restore_kernels
from gridgate.pipeline.training.run import begin_training, run_training
from gridgate.pipeline.training.windows.loading import WindowLoader

Kernels = tuple[bool, bool, bool, bool, bool]


def kernels() -> Kernels:
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    kept = kernels()
    yield kept
    restore_kernels()
    assert kernels() == kept


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_is_asked_of_all_that_computes(before: Kernels, deterministic: bool) -> None:
    begin_training(seed=0, cudnn_benchmark=True, deterministic=deterministic)
    expected = (False, True, True, False, False) if deterministic else (True, *before[1:])
    assert kernels() == expected
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) is deterministic


def test_a_training_after_one_that_failed_is_not_deterministic(before: Kernels) -> None:
    begin_training(seed=0, cudnn_benchmark=False, deterministic=True)
    begin_training(seed=0, cudnn_benchmark=True, deterministic=False)
    assert kernels() == (True, *before[1:])


@pytest.mark.parametrize("error", [DatasetError("no case"), KeyboardInterrupt()])
def test_however_a_training_ends_pytorch_is_as_it_was(
    before: Kernels, error: BaseException, tmp_path: Path
) -> None:
    class Cases:
        data = (1,)

        def load(self) -> None:
            raise error

    begin_training(seed=0, cudnn_benchmark=True, deterministic=True)
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(type(error)):
        run_training(engine, datasets=[Cases()], output_dir=tmp_path, dataset_dir="D")  # type: ignore[arg-type, list-item]
    assert kernels() == before


@pytest.mark.parametrize(
    ("cores", "pinned", "given", "expected"),
    [
        (16, True, None, 12),
        (8, True, None, 6),
        (2, True, None, 2),
        (16, False, None, 2),
        (16, True, 3, 3),
        (16, False, 0, 0),
    ],
)
def test_as_many_processes_as_the_device_is_fast(
    monkeypatch: pytest.MonkeyPatch, cores: int, pinned: bool, given: int | None, expected: int
) -> None:
    name = "gridgate.pipeline.training.windows.loading.usable_cores"
    monkeypatch.setattr(name, lambda: cores)
    loader = WindowLoader([1, 2], num_workers=given, pin_memory=pinned)  # type: ignore[arg-type]
    assert loader.num_workers == expected


def test_what_was_edited_beside_the_plan_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = Plan.from_dict(bundle_plan(bundle_path("phantom_attention_unet")))
    file = write_bundle(plan, tmp_path) / "configs" / "inference.yaml"
    training._tell_edited(tmp_path)
    assert not caplog.records
    text = file.read_text(encoding="utf-8")
    edited = text.replace(f"\noverlap: {plan.overlap}", "\noverlap: 0.25")
    file.write_text(edited, encoding="utf-8")
    training._tell_edited(tmp_path)
    (told,) = (record.getMessage() for record in caplog.records)
    assert f"overlap is 0.25, and {plan.overlap} in the plan" in told and "--overlap" in told
