"""Folds: every case validates once, whatever the order; files of ours and of nnU-Net."""

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.datasets.dataset import Dataset, DatasetCase
from gridgate.data.datasets.folds import load_or_make_splits, make_folds, select_fold
from gridgate.data.errors import ConfigError, DatasetError

ids = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=6),
    min_size=2,
    max_size=40,
    unique=True,
)


def dataset(root: Path, count: int = 10) -> Dataset:
    cases = tuple(
        DatasetCase(f"c{number}", (root / f"c{number}.nii.gz",), root / "l.nii.gz")
        for number in range(count)
    )
    return Dataset(root, "d", {"background": 0}, ("CT",), cases, ())


@given(ids, st.integers(2, 7), st.integers(0, 5), st.randoms())
def test_each_case_validates_exactly_once(
    names: list[str], folds: int, seed: int, shuffler: random.Random
) -> None:
    folds = min(folds, len(names))
    made = make_folds(names, folds=folds, seed=seed)
    assert len(made) == folds
    assert sorted(name for fold in made for name in fold["validation"]) == sorted(names)
    sizes = [len(fold["validation"]) for fold in made]
    assert max(sizes) - min(sizes) <= 1
    for fold in made:
        assert sorted(fold["train"] + fold["validation"]) == sorted(names)
    shuffler.shuffle(names)
    assert make_folds(names, folds=folds, seed=seed) == made


def test_the_deal_is_fixed_for_ever() -> None:
    made = make_folds([f"case_{number}" for number in range(6)], folds=3)
    assert [fold["validation"] for fold in made] == [
        ["case_1", "case_4"],
        ["case_0", "case_5"],
        ["case_2", "case_3"],
    ]
    assert make_folds([f"case_{number}" for number in range(6)], folds=3, seed=1) != made


@pytest.mark.parametrize("folds", [0, 1, 4])
def test_impossible_numbers_of_folds(folds: int) -> None:
    with pytest.raises(DatasetError, match="choose 2 to 3"):
        make_folds("abc", folds=folds)


def test_an_id_twice() -> None:
    with pytest.raises(DatasetError, match="the case id b is there twice"):
        make_folds(["b", "a", "b"], folds=2)


def test_made_and_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "out" / "splits.json"
    made = load_or_make_splits(dataset(tmp_path), folds=3, seed=4, path=path)
    assert json.loads(path.read_text()) == made
    assert made == make_folds([f"c{number}" for number in range(10)], folds=3, seed=4)
    before = path.stat().st_mtime_ns
    assert load_or_make_splits(dataset(tmp_path), folds=3, seed=4, path=path) == made
    assert path.stat().st_mtime_ns == before
    with pytest.raises(DatasetError, match="holds other folds"):
        load_or_make_splits(dataset(tmp_path), folds=3, seed=5, path=path)
    assert json.loads(path.read_text()) == made


def test_nothing_is_written_unasked(tmp_path: Path) -> None:
    load_or_make_splits(dataset(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["validation", "val"])
def test_the_datasets_own_splits_come_first(key: str, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(json.dumps([{"train": ["c1", "c0"], key: ["c2"]}]))
    splits = load_or_make_splits(dataset(tmp_path), folds=5, seed=9)
    assert splits == [{"train": ["c0", "c1"], "validation": ["c2"]}]
    train, validation = select_fold(dataset(tmp_path), splits, 0)
    assert [case.id for case in train] == ["c0", "c1"]
    assert [case.id for case in validation] == ["c2"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[", "cannot be read as JSON"),
        ("{}", "not a list of folds"),
        ("[]", "not a list of folds"),
        ('[{"train": ["c0"]}]', 'fold 0 has no "train" and "validation"'),
        ("[3]", 'fold 0 has no "train" and "validation"'),
        ('[{"train": [], "val": ["c0"]}]', 'fold 0 has no "train" and "validation"'),
        ('[{"train": ["c0"], "val": ["zz"]}]', r"fold 0 names the case zz \(1 such\)"),
        ('[{"train": ["c0", "c1"], "val": ["c1"]}]', "trains and validates on the case c1"),
    ],
)
def test_a_faulty_file_is_named(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(DatasetError, match=rf"splits\.json: .*{reason}"):
        load_or_make_splits(dataset(tmp_path))


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_out_of_range(fold: int, tmp_path: Path) -> None:
    splits = load_or_make_splits(dataset(tmp_path))
    with pytest.raises(DatasetError, match="choose 0 to 4"):
        select_fold(dataset(tmp_path), splits, fold)


def test_a_fold_of_another_dataset(tmp_path: Path) -> None:
    splits = load_or_make_splits(dataset(tmp_path, 10))
    with pytest.raises(DatasetError, match="does not have"):
        select_fold(dataset(tmp_path, 5), splits, 0)


# all cases


def test_one_fold_is_all_cases_whatever_file_there_is(tmp_path: Path) -> None:
    everything = [{"train": [f"c{number}" for number in range(10)], "validation": []}]
    assert load_or_make_splits(dataset(tmp_path), folds=1) == everything
    (tmp_path / "splits.json").write_text(json.dumps([{"train": ["c1"], "val": ["c2"]}]))
    assert load_or_make_splits(dataset(tmp_path), folds=1, seed=3) == everything
    train, validation = select_fold(dataset(tmp_path), everything, 0)
    assert len(train) == 10 and validation == []
    with pytest.raises(DatasetError, match="no fold 1; there is fold 0 alone"):
        select_fold(dataset(tmp_path), everything, 1)


def test_one_fold_is_kept_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "out" / "splits.json"
    made = load_or_make_splits(dataset(tmp_path), folds=1, path=path)
    assert load_or_make_splits(dataset(tmp_path), folds=1, path=path) == made
    assert load_or_make_splits(dataset(tmp_path), splits=path) == made
    with pytest.raises(DatasetError, match="holds other folds"):
        load_or_make_splits(dataset(tmp_path), folds=2, path=path)


def test_one_fold_and_a_file_of_folds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"train": ["c1"], "val": ["c2"]}]))
    with pytest.raises(ConfigError, match=r"--folds 1 .*--splits .*mine\.json"):
        load_or_make_splits(dataset(tmp_path), folds=1, splits=path)


def test_true_is_no_number_of_folds(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="into True folds"):
        load_or_make_splits(dataset(tmp_path), folds=True)


@pytest.mark.parametrize("key", ["validation", "val"])
def test_a_file_may_hold_no_case_out(key: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([{"train": ["c2", "c0"], key: []}]))
    made = load_or_make_splits(dataset(tmp_path), splits=path)
    assert made == [{"train": ["c0", "c2"], "validation": []}]


@given(ids, st.integers(2, 5), st.integers(0, 5), st.data())
def test_a_patients_cases_are_in_one_half_of_each_fold(
    names: list[str], folds: int, seed: int, data: st.DataObject
) -> None:
    patients = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from("pqr")))
    count = len(set(patients.values())) + len(set(names) - set(patients))
    if folds > count:
        with pytest.raises(DatasetError, match=f"choose 2 to {count}"):
            make_folds(names, folds=folds, seed=seed, patients=patients)
        return
    made = make_folds(names, folds=folds, seed=seed, patients=patients)
    assert sorted(name for fold in made for name in fold["validation"]) == sorted(names)
    for fold in made:
        assert fold["validation"] and set(fold["train"]) == set(names) - set(fold["validation"])
        held = {patients[name] for name in fold["validation"] if name in patients}
        assert held.isdisjoint(patients[name] for name in fold["train"] if name in patients)


def test_without_patients_folds_are_those_of_before() -> None:
    """Dealt out one by one in the order of the hash, as all trainings so far have them."""
    names = [f"c{number}" for number in range(11)]
    order = sorted(names, key=lambda name: hashlib.sha256(f"3:{name}".encode()).digest())
    made = make_folds(names, folds=4, seed=3)
    assert [fold["validation"] for fold in made] == [sorted(order[one::4]) for one in range(4)]


def test_a_file_that_parts_a_patient_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = replace(dataset(tmp_path, 4), patients={"c0": "p", "c1": "p"})
    folds = [{"train": ["c0", "c2"], "val": ["c1", "c3"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    load_or_make_splits(found)
    assert "trains and validates on scans of the patient p" in caplog.text
