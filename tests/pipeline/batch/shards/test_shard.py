"""Which part a process does: as it was told, and as SLURM says; each case is in one part."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridgate.data.errors import ConfigError
from gridgate.pipeline.batch.shards.record import Round
from gridgate.pipeline.batch.shards.shard import Shard, chosen_shard, shard_of_slurm

IDS = st.sets(st.text(min_size=1, max_size=8), max_size=60)


def slurm(task: int, count: int, first: int, last: int) -> dict[str, str]:
    values = {"ID": task, "COUNT": count, "MIN": first, "MAX": last}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_a_shard_is_told_by_its_place_counted_from_one() -> None:
    assert Shard.of("2/4") == Shard.of(" 2 / 4 ") == Shard(2, 4)
    assert Shard.of("1/1") is None, "all of it"
    for wrong in ("0/4", "5/4", "-1/4", "2", "2/0", "a/b", "0/0", "2/4/8", ""):
        with pytest.raises(ConfigError, match=r"--shard"):
            Shard.of(wrong)


def test_none_and_no_array_are_all_cases() -> None:
    inside = slurm(2, 4, 1, 4)
    for given_ in (None, "none", "null", "None", "1/1"):
        assert chosen_shard(given_, inside) is None
    assert chosen_shard("auto", {}) is None
    assert chosen_shard("auto", slurm(7, 1, 7, 7)) is None, "an array of one task"
    assert chosen_shard("auto", inside) == Shard(2, 4)
    assert chosen_shard("3/5", inside) == Shard(3, 5), "what is said goes before"
    assert chosen_shard("auto", inside, cases=1) is None, "an array over scans"
    assert chosen_shard("auto", inside, cases=2) == Shard(2, 4)
    assert chosen_shard("1/2", cases=1) == Shard(1, 2)


@given(st.integers(0, 500), st.integers(2, 60), st.integers(1, 9))
def test_arrays_may_begin_anywhere_and_have_a_step(first: int, count: int, step: int) -> None:
    # sbatch --array=FIRST-LAST:STEP
    tasks = range(first, first + count * step, step)
    found = [shard_of_slurm(slurm(task, count, tasks[0], tasks[-1])) for task in tasks]
    assert found == [Shard(number, count) for number in range(1, count + 1)]


@pytest.mark.parametrize("task", [1, 2, 4])
def test_a_list_of_tasks_without_one_step_is_refused(task: int) -> None:
    with pytest.raises(ConfigError, match="no one step"):
        shard_of_slurm(slurm(task, 3, 1, 4))  # --array=1,2,4


def test_variables_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="SLURM_ARRAY_TASK_MIN"):
        shard_of_slurm({**slurm(1, 4, 1, 4), "SLURM_ARRAY_TASK_MIN": "x"})


@given(IDS, st.integers(2, 9))
def test_each_case_is_in_one_shard_and_all_shards_are_as_large(ids: set[str], count: int) -> None:
    shard_of = Round(count).with_cases(ids).shard_of()
    assert set(shard_of) == ids
    sizes = Counter(shard_of.values())
    assert set(sizes) <= set(range(1, count + 1))
    all_sizes = [sizes[number] for number in range(1, count + 1)]
    assert max(all_sizes) - min(all_sizes) <= 1


@given(IDS, IDS, st.integers(2, 9))
def test_a_case_keeps_its_shard_when_others_come(
    first: set[str], more: set[str], count: int
) -> None:
    before = Round(count).with_cases(first)
    after = before.with_cases(first | more)
    assert before.shard_of().items() <= after.shard_of().items()
    assert set(after.cases) == first | more and len(after.cases) == len(first | more)
    # whoever lists first, and in whatever order, the first list is the same
    assert Round(count).with_cases(sorted(first, reverse=True)) == before


def test_neighbours_lie_in_different_shards() -> None:
    ids = [f"{site}/{number:03}" for site in "abcd" for number in range(50)]
    shard_of = Round(4).with_cases(ids).shard_of()
    for site in "abcd":
        sizes = Counter(shard_of[one] for one in ids if one[0] == site)
        assert max(sizes.values()) < 25, "no shard has half of a site"
