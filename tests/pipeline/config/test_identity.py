"""The identity of a run: each key of a resolved config that can change a result is in it."""

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.bundle.reference_resolver import ReferenceResolver

from gridgate.pipeline.config.identity import IGNORED, identity, plain
from gridgate.pipeline.plans.planning import FOLDER
from gridgate.pipeline.workflow import run_settings

CONFIGS = FOLDER / "phantom_attention_unet" / "configs"
FILES = ("inference.yaml", "evaluate.yaml", "train.yaml")
SHOWN = (
    "LabelOccurrence",
    "MemoryAdvice",
    "Profile",
    "ProgressBar",
    "TrainingPage",
    "TrainingRecord",
)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)


def started(file: str, **overrides: Any) -> ConfigWorkflow:
    workflow = ConfigWorkflow(
        config_file=str(CONFIGS / file), logging_file=False, workflow_type=None, **overrides
    )
    workflow.initialize()
    return workflow


def leaves(config: Any, id_: str = "") -> Iterator[str]:
    """The id of each value of a config, by MONAI's own walk."""
    for _, sub_id, value in ReferenceResolver.iter_subconfigs(id_, config):
        if isinstance(value, dict | list) and value:
            yield from leaves(value, sub_id)
        else:
            yield sub_id


def changed(config: dict[str, Any], id_: str) -> dict[str, Any]:
    other: Any = copy.deepcopy(config)
    *parents, last = id_.split("::")
    inside = other
    for key in parents:
        inside = inside[int(key) if isinstance(inside, list) else key]
    key = int(last) if isinstance(inside, list) else last
    inside[key] = "another" if inside[key] != "another" else "one more"
    return other


def may_be_ignored(config: dict[str, Any], id_: str) -> bool:
    """A listed key, a handler that only shows, or a description that no other key refers to."""
    parts = id_.split("::")
    if set(parts) & IGNORED.keys():
        return True
    if parts[0] == "_meta_":
        text = json.dumps({**config, "_meta_": None})
        return not any(
            re.search(rf"@{'::'.join(parts[:end])}(?!\w|::\w)", text)
            for end in range(1, len(parts) + 1)
        )
    inside: Any = config
    for key in parts[:-1]:
        inside = inside[int(key) if isinstance(inside, list) else key]
        if isinstance(inside, dict) and str(inside.get("_target_")).endswith(SHOWN):
            return parts[-1] != "_target_"  # by which it would be another handler
    return False


@pytest.mark.parametrize("file", FILES)
def test_each_key_changes_the_identity_unless_it_is_listed(file: str) -> None:
    workflow = started(file)
    config: dict[str, Any] = workflow.parser.config
    before = run_settings()
    assert before == identity(config) and len(before) > 50
    ids = list(leaves(config))
    assert {"output_dir", "run::0", "_meta_::version"} <= set(ids)
    wrong = [
        id_
        for id_ in ids
        if (identity(changed(config, id_)) == before) != may_be_ignored(config, id_)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("file", "override"),
    [
        ("inference.yaml", {"postprocessing::fill_holes": True}),
        ("inference.yaml", {"inferer::mode": "constant"}),
        ("inference.yaml", {"amp": True}),
        ("inference.yaml", {"engine": "int8"}),
        ("inference.yaml", {"body_threshold": -300}),
        ("inference.yaml", {"spacing": [5, 5, 5]}),
        ("inference.yaml", {"architecture::norm": "batch"}),
        ("inference.yaml", {"region": [[0, 0, 0], [9, 9, 9]]}),
        ("inference.yaml", {"evaluator::postprocessing": None}),
        ("train.yaml", {"train::optimizer::lr": 0.5}),
        ("train.yaml", {"seed": 5}),
        ("train.yaml", {"train::handlers::2::patience": 3}),
    ],
)
def test_overrides_that_change_a_result_are_in_it(file: str, override: dict[str, Any]) -> None:
    workflow = started(file)
    before = run_settings()
    other = started(file, **override)
    assert run_settings() != before
    del workflow, other


@pytest.mark.parametrize(
    ("file", "override"),
    [
        ("inference.yaml", {"output_dir": "elsewhere", "bundle_root": "copy", "input_dir": "in"}),
        ("inference.yaml", {"checkpoint": "a/model.pt", "overwrite": True, "num_workers": 3}),
        ("inference.yaml", {"device": "cuda:1", "isolate": False, "time_limit": 5}),
        ("inference.yaml", {"engine": "openvino", "inferer::int8": "elsewhere"}),
        ("inference.yaml", {"evaluator::device": "cpu", "_meta_::description": "mine"}),
        ("train.yaml", {"dataset_dir": "d", "resume": True, "cache_dir": "c", "rank": 1}),
        ("train.yaml", {"windows_on_device": False}),
        ("train.yaml", {"train::handlers::0::print_lr": True}),
        ("train.yaml", {"tracking": "mlflow", "output_dir": "elsewhere"}),
    ],
)
def test_overrides_that_change_no_result_are_not(file: str, override: dict[str, Any]) -> None:
    workflow = started(file)
    before = run_settings()
    other = started(file, **override)
    assert run_settings() == before
    del workflow, other


def test_a_workflow_that_is_gone_and_a_tool_of_its_own_have_no_settings() -> None:
    workflow = started("inference.yaml")
    assert run_settings()
    del workflow
    import gc

    gc.collect()
    assert run_settings() == {}


def test_values_are_json_and_the_same_in_another_process() -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]);"
        "from gridgate.pipeline.workflow import run_settings;"
        "from monai.bundle import ConfigWorkflow;"
        "w = ConfigWorkflow(sys.argv[2], logging_file=False, workflow_type=None); w.initialize();"
        "print(json.dumps(run_settings(), sort_keys=True))"
    )
    root = str(Path(__file__).resolve().parents[3])
    words = [sys.executable, "-W", "ignore", "-c", code, root, str(CONFIGS / "inference.yaml")]
    there = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    workflow = started("inference.yaml")
    assert json.loads(there.splitlines()[-1]) == json.loads(json.dumps(run_settings()))
    del workflow


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ((1, 2.5, None, True, "a"), [1, 2.5, None, True, "a"]),
        (np.float32(0.5), 0.5),
        (np.arange(3), [0, 1, 2]),
        (torch.tensor([1, 2]), [1, 2]),
        (torch.float16, "torch.float16"),
        (PurePosixPath("/a/#b"), "/a/#b"),
        ({3: (1,)}, {"3": [1]}),
        ({"b", "a"}, ["a", "b"]),
        (torch.nn.ReLU, "torch.nn.modules.activation.ReLU"),
        (plain, "gridgate.pipeline.config.identity.plain"),
    ],
)
def test_plain_values(value: Any, wanted: Any) -> None:
    assert plain(value) == wanted
    json.dumps(plain(value))


def test_objects_count_by_their_content() -> None:
    assert plain(torch.nn.Dropout(0.5)) == plain(torch.nn.Dropout(0.5))
    assert plain(torch.nn.Dropout(0.5)) != plain(torch.nn.Dropout(0.25))
    assert plain(threading_lock())["content"] == "unknown"  # cannot be pickled


def threading_lock() -> Any:
    import threading

    return threading.Lock()


def test_of_the_metadata_counts_what_the_config_refers_to() -> None:
    config = {"_meta_": {"plan": {"spacing": [1, 2], "x": {"y": 3}}, "name": "n"}}
    assert identity({**config, "a": 1}) == {"a": 1}
    found = identity({**config, "a": "$len(@_meta_::plan::x) + 1", "b": {"c": "@_meta_::name"}})
    assert {"_meta_::plan::x::y": 3, "_meta_::name": "n"}.items() <= found.items()
    assert "_meta_::plan::spacing" not in found
    assert "_meta_::plan::spacing" in identity({**config, "a": "@_meta_"})
