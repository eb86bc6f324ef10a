"""nnU-Net's `--fold all`."""

from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.config.all_cases import settle_fold_all

from ..workflow.workflows import CONFIGS, EVALUATE, TRAIN, failure, initialize, started

KNOWN = {"fold": 0, "folds": 5}


@pytest.mark.parametrize("config", [{"fold": "all", "folds": 5}, {"fold": "all", "folds": 1}])
def test_all_is_one_fold(config: dict[str, Any]) -> None:
    settle_fold_all(config, KNOWN)
    assert config == {"fold": 0, "folds": 1}


@pytest.mark.parametrize("config", [{"fold": 0, "folds": 5}, {"fold": 3, "folds": 1}, {}])
def test_other_folds_stay(config: dict[str, Any]) -> None:
    before = dict(config)
    settle_fold_all(config, KNOWN)
    assert config == before


def test_all_of_three_folds_is_a_contradiction() -> None:
    with pytest.raises(ConfigError, match="--fold all --folds 3"):
        settle_fold_all({"fold": "all", "folds": 3}, KNOWN)


@pytest.mark.parametrize("config", [TRAIN, EVALUATE])
def test_both_commands_know_it(config: str) -> None:
    for parser in (
        started(config, fold="all").parser,
        initialize(str(CONFIGS / config), fold="all").parser,
    ):
        found = [parser.get_parsed_content(name) for name in ("fold", "folds")]
        assert found == [0, 1]
    error = failure(lambda: started(config, fold="all", folds="3"))
    assert "--fold all --folds 3" in str(error)
