"""Shards in one process after another: who does what, and what lies in the folder."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.data.output_folder import OutputFolder
from gridgate.data.shared_folder import SharedFolder
from gridgate.pipeline.batch.evaluator import CasesFailedError
from gridgate.pipeline.batch.results.table_file import read_case_table
from gridgate.pipeline.batch.shards.locks import lock_of, tried
from gridgate.pipeline.batch.shards.record import Round
from gridgate.pipeline.batch.shards.tables import shard_tables

from ..threshold import TABLES, Threshold, evaluator, mask
from .in_turn import NAMES, dies, is_killed, rows, shard, stands


def check_all_done(out: Path) -> None:
    lines = (out / "cases.csv").read_text().splitlines()
    assert sorted(line.split(",")[0] for line in lines[1:]) == NAMES, "none lost, none twice"
    assert {row["status"] for row in rows(out).values()} == {"ok"}
    left = sorted(path.name for path in out.iterdir())
    assert left == sorted([".gridgate", "cases.csv", *TABLES, *(f"{n}.nii.gz" for n in NAMES)])
    assert not shard_tables(OutputFolder(out))


def test_shards_together_are_one_run(
    items: list[dict[str, Any]], out: Path, tmp_path: Path
) -> None:
    evaluator(items, tmp_path / "whole").run()
    done = [shard(items, out, f"{number}/4").state.iteration for number in (3, 1, 4, 2)]
    assert sum(done) == 10 and sorted(done) == [2, 2, 3, 3]
    check_all_done(out)
    whole, parts = rows(tmp_path / "whole"), rows(out)
    same = ("input", "output", "stamp", "checkpoint", "settings", "dense_voxels", "hints")
    for name in NAMES:
        assert {key: whole[name][key] for key in same} == {key: parts[name][key] for key in same}
        one, other = tmp_path / "whole" / f"{name}.nii.gz", out / f"{name}.nii.gz"
        assert (mask(one) == mask(other)).all()
    header = (out / "cases.csv").read_text().splitlines()[0]
    assert header == (tmp_path / "whole" / "cases.csv").read_text().splitlines()[0]


def test_a_run_without_shards_sees_what_shards_have_done(
    items: list[dict[str, Any]], out: Path
) -> None:
    shard(items, out, "1/3")
    dies(items, out, "2/3", after=2)
    assert stands(out).done and len(shard_tables(OutputFolder(out))) == 1
    engine = shard(items, out, None)
    assert engine.state.iteration == 10 - 4 - 2
    check_all_done(out)
    assert shard(items, out, "2/3").state.iteration == 0, "and the other way round"
    check_all_done(out)


def test_a_shard_that_died_is_finished_by_the_next(items: list[dict[str, Any]], out: Path) -> None:
    dies(items, out, "2/3")
    state = stands(out)
    assert [one.state for one in state.shards] == ["not started", "died", "not started"]
    assert len(state.done) == 1 and len(state.missing) == 9
    engine = shard(items, out, "1/3")
    assert engine.state.iteration == 4 + 2, "its own four, and two of three of the one that died"
    assert [one.state for one in stands(out).shards] == ["through", "through", "not started"]
    shard(items, out, "3/3")
    check_all_done(out)


def test_a_shard_that_waits_for_its_turn_is_left_alone(
    items: list[dict[str, Any]], out: Path
) -> None:
    assert shard(items, out, "1/3").state.iteration == 4
    state = stands(out)
    assert [one.state for one in state.shards] == ["through", "not started", "not started"]
    assert len(state.missing) == 6 and sorted(rows(out)) == sorted(state.done)


def test_the_same_shard_again_does_what_it_has_not_done(
    items: list[dict[str, Any]], out: Path
) -> None:
    dies(items, out, "1/2", after=2)
    assert shard(items, out, "1/2").state.iteration == 3
    assert shard(items, out, "1/2").state.iteration == 0
    assert shard(items, out, "2/2").state.iteration == 5
    check_all_done(out)


def test_what_has_failed_is_tried_again_by_its_own_shard_only(
    items: list[dict[str, Any]], out: Path
) -> None:
    part = Round(2).with_cases(NAMES).shard_of()
    mine = next(name for name in NAMES if part[name] == 1)
    path = Path(next(item["image"] for item in items if item["id"] == mine))
    whole = path.read_bytes()
    path.write_bytes(b"no image")
    with pytest.raises(CasesFailedError, match=f"1 of 5 cases failed.*{mine}"):
        shard(items, out, "1/2")
    shard(items, out, "2/2")
    assert rows(out)[mine]["status"] == "failed" and len(rows(out)) == 10
    assert stands(out).failed == [mine]
    path.write_bytes(whole)
    assert shard(items, out, "2/2").state.iteration == 0
    assert shard(items, out, "1/2").state.iteration == 1
    check_all_done(out)


def test_a_failed_case_of_a_shard_that_died_is_not_tried_by_the_next(
    items: list[dict[str, Any]], out: Path
) -> None:
    part = Round(2).with_cases(NAMES).shard_of()
    order = [name for name in NAMES if part[name] == 1]
    Path(next(item["image"] for item in items if item["id"] == order[0])).write_bytes(b"no")
    dies(items, out, "1/2", after=1)
    engine = shard(items, out, "2/2")
    assert engine.state.iteration == 5 + 4 and not engine.table.failed
    assert rows(out)[order[0]]["status"] == "failed" and len(rows(out)) == 10


def test_a_case_that_ends_its_process_does_not_end_one_shard_after_another(
    items: list[dict[str, Any]], out: Path
) -> None:
    """Such as one that needs more memory than a job is given."""
    part = Round(5).with_cases(NAMES).shard_of()
    poison, other = (name for name in NAMES if part[name] == 5)
    for which in ("5/5", "1/5", "2/5"):
        is_killed(items, out, which, at=poison)
    states = ["through", "died", "not started", "not started", "died"]
    assert [one.state for one in stands(out).shards] == states
    with pytest.raises(CasesFailedError, match=f"{poison}: 3 processes ended while they had"):
        shard(items, out, "3/5")
    found = rows(out)
    assert found[poison]["status"] == "failed" and found[other]["status"] == "ok"
    assert len(found) == 8 and [one.state for one in stands(out).shards] == [
        *["through"] * 3,
        "not started",
        "through",
    ]
    shard(items, out, "4/5")
    assert len(rows(out)) == 10
    assert shard(items, out, "5/5").state.iteration == 1, "its own shard tries it once more"
    check_all_done(out)


def test_a_shard_does_not_run_twice_at_a_time(items: list[dict[str, Any]], out: Path) -> None:
    dies(items, out, "1/2")
    lock = tried(lock_of(SharedFolder(out).records, 1, 2))  # as of another process
    assert lock is not None
    with pytest.raises(ConfigError, match=r"shard 1/2 is running already \(.*process \d+\)"):
        shard(items, out, "1/2")
    assert shard(items, out, "2/2").state.iteration == 5, "it is not taken for dead"
    assert [one.state for one in stands(out).shards] == ["running", "through"]
    assert not (out / "cases.csv").exists(), "the last one writes it"
    lock.release()


def test_a_shard_whose_cases_another_is_finishing_has_nothing_to_do(
    items: list[dict[str, Any]], out: Path
) -> None:
    dies(items, out, "1/2")
    second: list[Any] = []

    engine = evaluator(items, out, shard="2/2")
    run, lists = engine._run, []

    def running(todo: Any, processor: Any) -> None:
        lists.append([case.id for case in todo])
        if len(lists) == 2:  # those of the one that died
            second.append(shard(items, out, "1/2"))
        run(todo, processor)

    engine._run = running  # type: ignore[method-assign]
    engine.run()
    assert second[0].state.iteration == 0
    check_all_done(out)


@pytest.mark.parametrize("change", ["settings", "weights", "number"])
def test_shards_of_another_run_are_refused_while_one_is_at_work(
    change: str, items: list[dict[str, Any]], out: Path, tmp_path: Path
) -> None:
    import torch

    dies(items, out, "1/2")
    torch.save(Threshold().state_dict(), tmp_path / "weights.pt")
    which, options = {
        "settings": ("2/2", {"settings": {"overlap": 0.5}}),
        "weights": ("2/2", {"checkpoint": str(tmp_path / "weights.pt")}),
        "number": ("2/3", {}),
    }[change]
    lock = tried(lock_of(SharedFolder(out).records, 1, 2))
    assert lock is not None
    with pytest.raises(ConfigError, match="shards of another run are at work there"):
        shard(items, out, which, **options)
    lock.release()
    engine = shard(items, out, which, **options)  # nobody is at work: another run begins
    assert engine.state.iteration == (5 if change != "number" else engine.state.iteration)
    state = stands(out)
    assert len(state.done) == engine.state.iteration + (1 if change == "number" else 0)
    assert len(state.done) + len(state.missing) == 10
    shard(items, out, None, **options)
    check_all_done(out)


def test_a_run_and_its_shards_never_write_beside_another_run(
    items: list[dict[str, Any]], out: Path
) -> None:
    with OutputFolder(out), pytest.raises(ConfigError, match="another run is writing there"):
        shard(items, out, "1/2")
    with SharedFolder(out), pytest.raises(ConfigError, match="another run is writing there"):
        shard(items, out, None)
    assert not (out / "cases.csv").exists()


def test_a_folder_that_grows_between_the_shards(items: list[dict[str, Any]], out: Path) -> None:
    shard(items[:4], out, "1/2")
    dies(items[:4], out, "2/2", after=1)
    shard(items, out, "1/2")
    shard(items, out, "2/2")
    check_all_done(out)


def test_cases_are_spread_alike_when_nobody_was_there_before(
    items: list[dict[str, Any]], out: Path
) -> None:
    """An earlier list does not make shards uneven: it ends with the shards that used it."""
    shard(items[:4], out, "1/2")
    shard(items, out, "2/2")
    assert Counter(stands(out).shards[number].missing for number in (0, 1))[0] >= 1
    shard(items, out, "1/2")
    check_all_done(out)


def test_masks_of_hand_stay(items: list[dict[str, Any]], out: Path) -> None:
    from gridgate.data.errors import OutputError

    out.mkdir()
    (out / "case_03.nii.gz").write_bytes(b"mine")
    part = Round(2).with_cases(NAMES).shard_of()["case_03"]
    with pytest.raises(OutputError, match="not written by Gridgate"):
        shard(items, out, f"{part}/2")
    shard(items, out, f"{3 - part}/2")
    assert (out / "case_03.nii.gz").read_bytes() == b"mine"


def test_passed_over_inputs_are_in_the_table_once(items: list[dict[str, Any]], out: Path) -> None:
    from gridgate.data.walk import PassedOver

    over = [PassedOver("/scans/localizer", "a localizer")]
    for number in (1, 2):
        shard(items, out, f"{number}/2", passed_over=over)
    found = read_case_table(out / "cases.csv")
    assert [row["input"] for row in found if row["status"] == "passed over"] == ["/scans/localizer"]
    assert len(found) == 11


def test_columns_that_somebody_added_stay(items: list[dict[str, Any]], out: Path) -> None:
    shard(items, out, "1/2")
    lines = (out / "cases.csv").read_text().splitlines()
    (out / "cases.csv").write_text(
        "\n".join(line + (",looked at" if n == 0 else ",yes") for n, line in enumerate(lines))
        + "\n"
    )
    shard(items, out, "2/2")
    assert Counter(row["looked at"] for row in rows(out).values()) == {"yes": 5, "": 5}


def test_an_array_that_is_about_something_else_is_suspected(
    items: list[dict[str, Any]],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, number in (("ID", 1), ("COUNT", 2), ("MIN", 1), ("MAX", 2)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(number))
    with caplog.at_level("INFO"):
        shard(items, out, "auto")
    assert "shard 1/2, from SLURM_ARRAY_TASK_ID" in caplog.text
    assert "no other shard has begun" in caplog.text and "--shard null" in caplog.text
    caplog.clear()
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    shard(items, out, "auto")
    assert "no other shard" not in caplog.text
    check_all_done(out)
