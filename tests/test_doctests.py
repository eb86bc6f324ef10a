"""The examples in the docstrings of `data` run and give what they say."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import gridgate.data

MODULES = [
    *sorted(one.name for one in pkgutil.walk_packages(gridgate.data.__path__, "gridgate.data.")),
    "gridgate.transforms.load",
    "gridgate.transforms.preprocess",
]
WITH_EXAMPLES = (
    "gridgate.data.geometry.affines",
    "gridgate.data.geometry.grids",
    "gridgate.data.images.names",
    "gridgate.data.images.values",
    "gridgate.data.ids",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np}, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    if name in WITH_EXAMPLES:
        assert result.attempted > 0
