"""Which cases are stored anew, shared, mended or kept as they are."""

import logging
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, MapTransform

from gridgate.data.datasets.cache.folder import BusyError, CaseCache
from gridgate.data.datasets.parts import dataset_cases
from gridgate.data.errors import DatasetError
from gridgate.pipeline.training.windows.cases import CachedCases

from .stored_cases import WINDOW, assert_same, prepare, whole, windows


def made_now(dataset: CachedCases, caplog: pytest.LogCaptureFixture) -> int:
    caplog.clear()
    with caplog.at_level(logging.INFO):
        dataset.load()
    (count,) = re.findall(r"(\d+) of them were made now", caplog.text)
    return int(count)


def test_folds_and_validations_share_the_cases(
    phantom_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = [
        made_now(dataset, caplog)
        for fold in range(3)
        for dataset in (
            windows(phantom_dataset, tmp_path, fold=fold),
            whole(phantom_dataset, tmp_path, part="validation", fold=fold),
        )
    ]
    assert made == [4, 2, 0, 0, 0, 0]


def test_what_changes_a_case_makes_it_anew(
    phantom_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = Path(shutil.copytree(phantom_dataset, tmp_path / "D"))
    folder = tmp_path / "cache"
    assert made_now(windows(dataset, folder), caplog) == 4
    moved = Path(shutil.copytree(dataset, tmp_path / "elsewhere"))
    again = windows(moved, folder, foreground=0.1, rotation_degrees=90)
    assert made_now(again, caplog) == 0  # nor does the augmentation count
    assert str(moved) in str(again.load()[0]["image"].meta["filename_or_obj"])
    for other in ({"spacing": (8, 8, 7)}, {"intensity": {**WINDOW, "low": -161}}):
        assert made_now(windows(dataset, folder, preparing=prepare(**other)), caplog) == 4
    assert made_now(windows(dataset, folder, preparing=prepare(foreground=None)), caplog) == 4
    item = windows(dataset, folder).data[1]
    label = nib.load(item["label"])
    values = np.asarray(label.dataobj).copy()
    values[values == 1] = 2
    nib.save(nib.Nifti1Image(values, label.affine, label.header), item["label"])
    changed = windows(dataset, folder)
    assert made_now(changed, caplog) == 1
    assert not (changed.load()[1]["label"] == 1).any()
    assert (changed.load()[0]["label"] == 1).any()


def test_a_damaged_case_is_made_again(
    phantom_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    windows(phantom_dataset, tmp_path).load()
    first = sorted(tmp_path.glob("cases/*/*/array_0.b2nd"))[0]
    first.write_bytes(first.read_bytes()[:-9])
    again = windows(phantom_dataset, tmp_path)
    again.load()
    assert "is damaged" in caplog.text and str(first.parent) in caplog.text
    assert_same(again[3], windows(phantom_dataset, None)[3])


def test_a_case_that_is_removed_meanwhile_is_an_error_of_ours(
    phantom_dataset: Path, tmp_path: Path
) -> None:
    cases = whole(phantom_dataset, tmp_path, part="validation")
    cases.load()
    CaseCache(tmp_path).clear()
    with pytest.raises(DatasetError, match="this stored case cannot be read"):
        cases[0]


def test_a_training_takes_what_another_one_makes(
    phantom_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process has in hand is left for the end, and then found."""
    asked: list[bool] = []
    original = CaseCache.store

    def busy_at_first(self: CaseCache, key: str, make: Any, **options: Any) -> Any:
        asked.append(options["wait"])
        if not options["wait"] and len(asked) == 1:
            raise BusyError(key)
        return original(self, key, make, **options)

    monkeypatch.setattr(CaseCache, "store", busy_at_first)
    cases = CachedCases(
        dataset_cases(phantom_dataset, part="train", folds=3),
        transform=prepare(),
        cache_dir=tmp_path,
        num_workers=1,
    )
    assert len(cases.load()) == 4 and asked == [False] * 4 + [True]


class Annotated(MapTransform):
    """Leaves other small items in a case, and reads one."""

    def __call__(self, data: Any) -> dict[str, Any]:
        annotated = torch.tensor([True, False, data["annotated"] == ["liver"]])
        return {**data, "annotated": annotated, "more": {"n": (1, None), "text": "ä"}}


def test_any_small_items_are_kept(phantom_dataset: Path, tmp_path: Path) -> None:
    data = dataset_cases(phantom_dataset, part="validation", folds=3)
    items = [{**one, "annotated": ["liver"], "source": "X"} for one in data]
    transform = Compose([prepare(), Annotated("image")])
    stored = CachedCases(items, transform=transform, cache_dir=tmp_path)
    kept = CachedCases(items, transform=transform)
    for one, other in zip(stored.load(), kept.load(), strict=True):
        assert_same(one, dict(other))
        assert one["annotated"].tolist() == [True, False, True] and one["source"] == "X"
    others = [{**one, "annotated": ["spleen"]} for one in items]
    again = CachedCases(others, transform=transform, cache_dir=tmp_path)
    assert again[0]["annotated"].tolist() == [True, False, False]
