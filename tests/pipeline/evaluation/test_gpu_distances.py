"""The distance transform's way gives the k-d tree's numbers, and is taken on GPUs with cuCIM."""

from __future__ import annotations

import importlib.machinery
import importlib.util

import numpy as np
import pytest
import torch

from gridgate.pipeline.evaluation.surfaces import distances, on_gpu
from gridgate.pipeline.evaluation.surfaces.distances import surface_distances
from gridgate.pipeline.evaluation.surfaces.on_gpu import gpu_of_distances

SHEARED = np.array([[1.0, 0, 0.2], [0, 1, 0], [0, 0, 2]])
ANGLE = np.deg2rad(20)
TURNED = np.array(
    [[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 1]]
) @ np.diag([0.8, 0.8, 2.5])


@pytest.fixture
def with_cucim(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU that is in use, where the packages are installed."""
    find = importlib.util.find_spec
    made = importlib.machinery.ModuleSpec("cucim", None)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: made if name in ("cucim", "cupy") else find(name, *rest),
    )


@pytest.mark.parametrize("seed", range(4))
def test_both_ways_give_the_same_distances(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.random((11, 9, 7)) < share for share in (0.2, 0.05)]
    masks[1][3, 4, 5] = True
    wanted = surface_distances(*masks, affine=TURNED)
    monkeypatch.setattr(distances, "gpu_of_distances", lambda _: torch.device("cpu"))
    found = surface_distances(*masks, affine=TURNED)
    for name in ("prediction_to_reference", "reference_to_prediction"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-9)


def test_a_gpu_that_fails_leaves_it_to_the_cpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError("out of memory")

    masks = [np.zeros((6, 6, 6), bool) for _ in range(2)]
    masks[0][1, 1, 1] = masks[1][1, 1, 4] = True
    monkeypatch.setattr(distances, "gpu_of_distances", lambda _: torch.device("cpu"))
    monkeypatch.setattr(on_gpu, "distance_transform_edt", full)
    found = surface_distances(*masks, spacing_mm=(1, 1, 2))
    assert found.hausdorff() == 6 and "as the GPU failed: out of memory" in caplog.text


@pytest.mark.usefixtures("with_cucim")
def test_a_gpu_is_taken_for_right_angles() -> None:
    assert gpu_of_distances(np.diag([1.0, 1.0, 3.0])) == torch.device("cuda")
    assert gpu_of_distances(TURNED) == torch.device("cuda")
    assert gpu_of_distances(SHEARED) is None


def test_no_gpu_is_taken_where_none_is_in_use_or_cucim_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert gpu_of_distances(np.eye(3)) is None
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(on_gpu, "_PACKAGES", ("a_package_that_is_not_there",))
    assert gpu_of_distances(np.eye(3)) is None


@pytest.mark.cuda
def test_on_a_gpu_with_cucim(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cucim")
    rng = np.random.default_rng(0)
    masks = [rng.random((31, 29, 17)) < share for share in (0.2, 0.05)]
    torch.zeros(1, device="cuda")
    found = surface_distances(*masks, affine=TURNED)
    monkeypatch.setattr(distances, "gpu_of_distances", lambda _: None)
    wanted = surface_distances(*masks, affine=TURNED)
    assert found.average() == pytest.approx(wanted.average(), abs=1e-6)
    assert found.hausdorff() == pytest.approx(wanted.hausdorff(), abs=1e-6)
