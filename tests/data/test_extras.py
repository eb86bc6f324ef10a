"""A package that an extra brings: the module, or how to get it."""

import json

import pytest

from gridgate.data.errors import ConfigError
from gridgate.data.extras import module_of_extra


def test_a_package_that_is_there_is_the_module() -> None:
    assert module_of_extra("json", "any", wanted_by="this") is json


def test_one_that_is_not_is_named_with_the_command_that_brings_it() -> None:
    said = r"^--ray needs not_there, which is not installed: pip install 'gridgate\[ray\]'$"
    with pytest.raises(ConfigError, match=said):
        module_of_extra("not_there", "ray", wanted_by="--ray")
