"""Where masks may be written."""

import json
from pathlib import Path

import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.batch.selection import check_folder


@pytest.mark.parametrize("name", ["imagesTr", "labelsTr", "imagesTs", "labelsTs"])
def test_masks_do_not_go_into_a_datasets_own_folders(name: str, tmp_path: Path) -> None:
    # no name need collide: they would stand among the labels that a training takes
    (tmp_path / "scans").mkdir()
    (tmp_path / "dataset" / name).mkdir(parents=True)
    check_folder(tmp_path / "scans", tmp_path / "dataset" / name)  # no dataset: any name will do
    (tmp_path / "dataset" / "dataset.json").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match="a folder of the dataset"):
        check_folder(tmp_path / "scans", tmp_path / "dataset" / name)
