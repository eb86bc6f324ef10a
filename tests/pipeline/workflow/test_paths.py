"""Paths among the settings, and the bundle's own: as they are, whatever is in them."""

import os
import shutil
from pathlib import Path

import pytest

from ... import forked
from .workflows import CONFIGS, INFERENCE, TRAIN, started

HARD = [
    "out#1",
    "$1/0",
    "$import os",
    "@labels",
    "%labels",
    "a::b, c",
    "a@::b",
    'it\'s "so"',
    "b\\n#",
    "[1, 2]",
    "{a: 1}",
    "null",
    "007",
    "a: b",
    "x # y",
    "Befund #3 \u00fc",
    "#\udcff",
]


@pytest.mark.parametrize("path", HARD)
def test_paths_reach_the_config_as_they_are(path: str) -> None:
    names = ["input_dir", "output_dir", "postprocessing::output_dir"]
    workflow = started(INFERENCE, **dict.fromkeys(names, path))
    parsed = workflow.parser.get_parsed_content
    assert [parsed(name) for name in ("input_dir", "dataset_dir", "output_dir")] == [path] * 3
    assert parsed("postprocessing", instantiate=False).get_config()["output_dir"] == path
    if path not in ("null", "[1, 2]"):
        workflow = started(INFERENCE, checkpoint=path, region=path)
        assert workflow.parser.get_parsed_content("checkpoint") == path
        assert workflow.parser.get_parsed_content("region") == path


def test_lists_of_paths_and_boxes() -> None:
    workflow = started(
        INFERENCE, checkpoint="[a#1.pt, 'b, $c.pt', 007]", region="[[0,0,0],[1,2,3]]"
    )
    parsed = workflow.parser.get_parsed_content
    assert parsed("checkpoint") == ["a#1.pt", "b, $c.pt", "007"]
    assert parsed("region") == [[0, 0, 0], [1, 2, 3]]
    workflow = started(TRAIN, pretrained_encoders="{resnet: r#1.pth, vit: $v.pth}")
    found = workflow.parser.get_parsed_content("pretrained_encoders")
    assert found == {"resnet": "r#1.pth", "vit": "$v.pth"}


@pytest.mark.parametrize("name", ["a#b", "$c", "@labels", "%x::y", "d, e"])
def test_a_bundle_whose_own_path_is_hard(name: str, tmp_path: Path) -> None:
    bundle = tmp_path / name
    shutil.copytree(CONFIGS.parent, bundle)
    workflow = started(INFERENCE, bundle)
    assert workflow.parser.get_parsed_content("checkpoint") == str(bundle / "models" / "model.pt")
    os.chdir(tmp_path)
    workflow = started(INFERENCE, Path(name))
    assert workflow.parser.get_parsed_content("bundle_root") == name


def test_monais_run_finds_the_bundles_own_weights_and_keeps_a_hash_in_a_path(
    tmp_path: Path,
) -> None:
    probe = tmp_path / "probe.yaml"
    files = [str(CONFIGS / INFERENCE), str(probe)]
    probe.write_text("inferring: ['$print([str(@checkpoint), str(@output_dir)])']\n")
    words = ["run", "inferring", "--config_file", str(files), "--output_dir", "out#1"]
    done = forked.run("monai.bundle", words, cwd=tmp_path)
    wanted = str([str(CONFIGS.parent / "models" / "model.pt"), "out#1"])
    assert wanted in done.stdout.splitlines(), done.stdout + done.stderr
