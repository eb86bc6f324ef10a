"""Where cases are kept: in memory where they surely fit, else on disk, as the log says."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from gridgate.data.datasets.parts import dataset_cases
from gridgate.pipeline.training.windows import cases as cases_module
from gridgate.pipeline.training.windows import place
from gridgate.pipeline.training.windows.cases import CachedCases
from gridgate.pipeline.training.windows.key import described, settings_of
from gridgate.pipeline.training.windows.place import Need, fits, free_memory, needed
from gridgate.transforms import ClassIndicesd, preprocessing

WINDOW = {"mode": "window", "low": -160, "high": 240}


def prepare(spacing: Any = (8, 8, 6)) -> Compose:
    ready = preprocessing(keys=("image", "label"), spacing=spacing, intensity=WINDOW)
    return Compose([ready, ClassIndicesd("label", label_count=7, max_samples_per_class=10)])


@pytest.fixture
def items(phantom_dataset: Path) -> list[dict[str, Any]]:
    return dataset_cases(phantom_dataset, part="validation", folds=3)


@pytest.mark.parametrize("spacing", [(8, 8, 6), None])
def test_what_cases_will_take_is_told_by_their_headers(
    items: list[dict[str, Any]], spacing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = prepare(spacing).flatten()
    made = [transform(item) for item in items]
    tensors = sum(
        one[key].numel() * one[key].element_size() for one in made for key in ("image", "label")
    )
    lists = 8 * 7 * 10 * len(items)  # at most
    assert needed(items, transform.transforms).total == tensors + lists
    assert needed([{"id": "a", "image": "none.nii.gz"}], transform.transforms) == Need(0, 0)


def test_a_quarter_of_what_is_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert fits(Need(250, 1), 1000) and not fits(Need(251, 1), 1000)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # each process has its cases
    assert fits(Need(125, 1), 1000) and not fits(Need(126, 1), 1000)


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    names = place._CGROUPS[0]
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 250\n")
    assert place._free_in_group(tmp_path, names) == 550
    (tmp_path / "memory.max").write_text("max\n")
    with pytest.raises(ValueError, match="max"):
        place._free_in_group(tmp_path, names)
    assert 1e8 < free_memory() < 1e15


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache folder, and a log that is read."""
    monkeypatch.setenv("GRIDGATE_CACHE", str(tmp_path / "users"))
    return tmp_path / "users"


def load(items: Any, caplog: pytest.LogCaptureFixture, **options: Any) -> CachedCases:
    caplog.clear()
    found = CachedCases(items, transform=prepare(), **options)
    with caplog.at_level(logging.INFO):
        found.load()
    return found


def test_few_cases_stay_in_memory(
    items: list[dict[str, Any]], users: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = load(items, caplog)
    assert not found.on_disk and not users.exists()
    assert "2 preprocessed cases: kept in memory, about " in caplog.text


def test_many_cases_go_to_the_users_cache(
    items: list[dict[str, Any]],
    users: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need = needed(items, prepare().flatten().transforms)
    monkeypatch.setattr(cases_module, "free_memory", lambda: 4 * need.total - 1)
    found = load(items, caplog)
    assert found.on_disk and len(list(users.glob("cases/*/*/case.json"))) == 4
    assert f"stored in {users}, as they would take about" in caplog.text
    assert "--cache_dir" in caplog.text and "GRIDGATE_CACHE" in caplog.text


def test_a_folder_always_stores_there(
    items: list[dict[str, Any]], users: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    found = load(items, caplog, cache_dir=tmp_path / "here")
    assert found.on_disk and not users.exists()
    assert f"stored in {tmp_path / 'here'}" in caplog.text


def test_what_has_no_file_has_no_content_to_be_found_by(tmp_path: Path) -> None:
    cases = CachedCases([{"id": 3}], transform=Compose([]), cache_dir=tmp_path / "here")
    assert cases[0] == {"id": 3} and not cases.on_disk


@pytest.mark.parametrize("kind", [torch.zeros, np.zeros])
def test_images_in_memory_are_never_written(
    kind: Any, users: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    items = [{"image": kind((9, 9, 9)), "label": kind((9, 9, 9))}]
    found = load(items, caplog, cache_dir=tmp_path / "here")
    assert not found.on_disk and not (tmp_path / "here").exists() and not users.exists()
    assert "kept in memory, as their images are there already" in caplog.text


def test_settings_are_the_same_in_each_process_and_after_use(items: list[dict[str, Any]]) -> None:
    transform = prepare().flatten()
    before = settings_of(transform.transforms)
    transform(items[0])
    assert (
        settings_of(transform.transforms) == before == settings_of(prepare().flatten().transforms)
    )
    assert settings_of(prepare((8, 8, 7)).flatten().transforms) != before


def test_any_setting_of_a_users_own_transform_counts() -> None:
    def scaled(factor: float) -> Any:
        return lambda x: x * factor

    @dataclass(frozen=True, slots=True)
    class Slotted:
        value: int

    assert described(Slotted(1)) != described(Slotted(2)) and described(Slotted(1))
    assert described(range(3)) != described(range(4))
    assert described(object()) == described(object())
    assert described(lambda x: x + 1) != described(lambda x: x + 2)
    assert described(np.array([1.0, 2.0])) != described(np.array([1.0, 3.0]))
    assert described({3, 1, 2}) == described({2, 3, 1})
    assert described(scaled(2.0)) != described(scaled(3.0))
    assert described(lambda x: torch.exp(x)) != described(lambda x: torch.log(x))
