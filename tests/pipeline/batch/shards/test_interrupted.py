"""What a shard that was interrupted leaves behind: nothing of it is taken for something else."""

from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.pipeline.batch.computing import Computing
from gridgate.pipeline.batch.processor import CaseProcessor
from gridgate.pipeline.batch.selection import folder_inputs
from gridgate.pipeline.batch.shards.record import Round
from gridgate.transforms import RestoreLabelsd

from ..threshold import Threshold, evaluator, mask
from .in_turn import NAMES, dies, is_killed, rows, shard, stands


class Nothing(Threshold):
    """Of other settings: it marks no voxel."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.zeros_like(windows))


def of_shard(number: int, count: int = 2) -> list[str]:
    """The cases of a shard, in the order in which it does them."""
    part = Round(count).with_cases(NAMES).shard_of()
    return [name for name in NAMES if part[name] == number]


@pytest.mark.parametrize("then", [None, "1/2", "2/2"])
def test_a_mask_of_other_settings_that_has_no_row_yet_is_made_again(
    then: str | None, items: list[dict[str, Any]], out: Path
) -> None:
    """The row of before speaks of the mask of before, which is no more."""
    shard(items, out, None, settings={"s": "a"})
    mine = of_shard(1)[0]
    before = mask(out / f"{mine}.nii.gz")
    is_killed(items, out, "1/2", at=mine, settings={"s": "b"}, network=Nothing())
    assert before.any() and not mask(out / f"{mine}.nii.gz").any()
    shard(items, out, then, settings={"s": "a"})
    if then == "2/2":  # the first one's turn may come
        shard(items, out, "1/2", settings={"s": "a"})
    assert (mask(out / f"{mine}.nii.gz") == before).all()
    assert rows(out)[mine]["status"] == "ok"


def test_cases_in_hand_when_the_time_is_up_come_last(
    items: list[dict[str, Any]], out: Path
) -> None:
    """One of them may be the one that hangs; it is at fault for nothing yet."""
    dies(items, out, "1/2", after=1)
    engine = evaluator(items, out, shard="2/2")
    run, lists = engine._run, []

    def running(todo: Any, processor: Any) -> None:
        lists.append([case.id for case in todo])
        run(todo, processor)

    engine._run = running  # type: ignore[method-assign]
    engine.run()
    own, *others = lists
    assert own == of_shard(2) and sum(map(len, others)) == 4
    # the second one was in hand, and so was what was read ahead
    in_hand = others.index([of_shard(1)[1]])
    assert all(len(one) == 1 for one in others[in_hand:])
    assert {row["status"] for row in rows(out).values()} == {"ok"} and len(rows(out)) == 10


def test_a_list_that_shrinks_between_the_shards_loses_none(
    items: list[dict[str, Any]], out: Path
) -> None:
    gone = of_shard(1)[0]
    shard(items, out, "1/2")
    rest = [item for item in items if item["id"] != gone]
    Path(next(item["image"] for item in items if item["id"] == gone)).unlink()
    assert shard(rest, out, "2/2").state.iteration == 5
    found = rows(out)
    assert all(found[item["id"]]["status"] == "ok" for item in rest)
    assert not stands(out).missing and stands(out).cases == 9
    # a run that begins anew has a list of its own
    assert shard(rest[1:], out, "1/2").state.iteration == 0
    assert stands(out).cases == 8


def test_overwriting_goes_on_where_it_was(items: list[dict[str, Any]], out: Path) -> None:
    shard(items, out, None)
    dies(items, out, "2/2", overwrite=True, after=1)
    again = shard(items, out, "2/2", overwrite=True)
    assert again.state.iteration == 4, "its own first case is done"
    assert shard(items, out, "1/2", overwrite=True).state.iteration == 5
    assert shard(items, out, "1/2", overwrite=True).state.iteration == 5, "it had ended"


def test_what_is_taken_over_is_overwritten_as_well(items: list[dict[str, Any]], out: Path) -> None:
    shard(items, out, None)
    dies(items, out, "2/2", overwrite=True, after=1)
    assert shard(items, out, "1/2", overwrite=True).state.iteration == 5 + 4
    assert len(rows(out)) == 10


def test_a_shard_with_other_postprocessing_goes_on(items: list[dict[str, Any]], out: Path) -> None:
    """No mask is written, and no table of all is there yet."""
    told = {"postprocess": RestoreLabelsd()}
    dies(items, out, "1/2", after=1, **told)
    shard(items, out, "1/2", **told)


@pytest.mark.parametrize(("shared", "cases", "isolated"), [(True, 1, True), (False, 1, False)])
def test_a_single_case_of_a_shard_is_isolated(shared: bool, cases: int, isolated: bool) -> None:
    """Be it its only one, or one that a process has died with: it must end no other shard."""
    processor = CaseProcessor.__new__(CaseProcessor)
    computing = Computing([torch.device("cpu")], shared_out=shared)
    assert computing._isolated(cases, processor) is isolated


def test_masks_of_shards_at_work_are_no_scans(items: list[dict[str, Any]], tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    dies(items, scans / "m", "1/2", after=2)
    (tmp_path / "elsewhere").mkdir()
    shard(items, tmp_path / "elsewhere" / "done", None)
    (scans / "linked").symlink_to(tmp_path / "elsewhere" / "done")
    shard(items, scans / "sheet", None)
    table = scans / "sheet" / "cases.csv"
    table.write_text(table.read_text().replace(",", ";"))
    found = folder_inputs(scans, output_dir=tmp_path / "o")
    assert [case["id"] for case in found.cases] == NAMES
