"""The weights of a run: untrained ones only where somebody asked for them."""

import pytest

from gridgate.data.errors import CheckpointError
from gridgate.pipeline.models.run_weights import chosen_checkpoint


@pytest.mark.parametrize("nothing", [None, []])
def test_no_checkpoint_is_no_wish_for_untrained_weights(nothing: list[str] | None) -> None:
    with pytest.raises(CheckpointError, match="--load_pretrain False"):
        chosen_checkpoint(nothing, load_pretrain=True)
    assert chosen_checkpoint(nothing, load_pretrain=False) is None


def test_a_checkpoint_is_taken_as_it_is() -> None:
    assert chosen_checkpoint("model.pt", load_pretrain=True) == "model.pt"
    assert chosen_checkpoint(["a.pt", "b.pt"], load_pretrain=True) == ["a.pt", "b.pt"]
    assert chosen_checkpoint("model.pt", load_pretrain=False) is None
