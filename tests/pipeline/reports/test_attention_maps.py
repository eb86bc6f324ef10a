"""Attention maps as files, checkpoint by checkpoint; and maps of numbers in the viewer."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from gridgate.data.errors import CheckpointError, ConfigError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.models.attention import _labels, attention_of
from gridgate.pipeline.reports.attention_maps import (
    found_checkpoint,
    kept_checkpoints,
    write_attention,
)
from gridgate.pipeline.reports.viewer.shown import ShownCase, ShownMask


def other_weights(checkpoint: Path, path: Path) -> Path:
    weights = torch.load(checkpoint, weights_only=True)
    torch.save({name: one * 1.5 for name, one in weights.items()}, path)
    return path


def test_maps_are_the_coefficients_and_lie_where_the_scan_does(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle, checkpoint, scan = trained
    second = other_weights(checkpoint, tmp_path / "epoch_0002.pt")
    output = OutputFolder(tmp_path / "maps")
    files = write_attention(bundle, [second, checkpoint], scan, output, name="ct")
    assert all(path.is_file() for path in files)
    for path in (second, checkpoint):
        want = attention_of(bundle, path, scan)
        assert want is not None
        for gate, maps in want.coefficients.items():
            assert len(maps) == 1
            got = nib.load(tmp_path / "maps" / path.stem / f"{gate}.nii")
            np.testing.assert_array_equal(np.asarray(got.dataobj), maps[0])
            np.testing.assert_allclose(got.affine, nib.load(scan).affine, atol=1e-3)
    first, last = (
        np.asarray(nib.load(tmp_path / "maps" / path.stem / "gate2.nii").dataobj)
        for path in (second, checkpoint)
    )
    assert not np.array_equal(first, last)
    assert (tmp_path / "maps" / "attention.png").stat().st_size > 10_000


def test_the_viewer_shows_numbers_as_a_map_and_labels_by_name(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle, checkpoint, scan = trained
    output = OutputFolder(tmp_path / "maps")
    write_attention(bundle, [checkpoint], scan, output, name="ct")
    folder = tmp_path / "maps" / "model"
    masks = [ShownMask(name, folder / f"{name}.nii") for name in ("gate2", "labels")]
    told = ShownCase("ct", str(scan), masks).told()["masks"]
    gate = np.asarray(nib.load(folder / "gate2.nii").dataobj)
    assert told[0]["labels"] == [] and told[0]["heat"] == pytest.approx([gate.min(), gate.max()])
    assert told[1]["heat"] is None
    assert {"right kidney", "liver"} & {one["name"] for one in told[1]["labels"]}


def test_which_checkpoints_there_are(trained: tuple[Path, Path, Path]) -> None:
    bundle, checkpoint, _ = trained
    shutil.rmtree(bundle / "models", ignore_errors=True)
    with pytest.raises(CheckpointError, match="no weights are there"):
        kept_checkpoints(bundle)
    (bundle / "models").mkdir()
    for name in ("model.pt", "epoch_0010.pt", "epoch_0002.pt", "epoch_10000.pt", "other.pt"):
        shutil.copy(checkpoint, bundle / "models" / name)
    names = [path.name for path in kept_checkpoints(bundle)]
    assert names == ["epoch_0002.pt", "epoch_0010.pt", "epoch_10000.pt", "model.pt"]


def test_a_checkpoint_is_found_in_the_bundle_too(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle, checkpoint, _ = trained
    (bundle / "models").mkdir(exist_ok=True)
    shutil.copy(checkpoint, bundle / "models" / "epoch_0010.pt")
    assert found_checkpoint(bundle, "epoch_0010.pt") == bundle / "models" / "epoch_0010.pt"
    assert found_checkpoint(bundle, str(checkpoint)) == checkpoint
    with pytest.raises(CheckpointError, match=r"none\.pt"):
        found_checkpoint(bundle, "none.pt")


def test_the_segmentation_of_regions_is_the_written_map() -> None:
    logits = torch.tensor([[3.0, 3.0, -1.0], [-2.0, 1.0, -1.0]])[:, :, None, None]
    assert _labels(logits, [1, 3])[:, 0, 0].tolist() == [1, 3, 0]
    assert _labels(logits, None)[:, 0, 0].tolist() == [0, 0, 0]
    assert _labels(logits[:1], None)[:, 0, 0].tolist() == [1, 1, 0]


def test_what_has_no_maps_is_told(trained: tuple[Path, Path, Path], tmp_path: Path) -> None:
    bundle, checkpoint, scan = trained
    output = OutputFolder(tmp_path / "maps")
    with pytest.raises(ConfigError, match="two checkpoints have one name"):
        write_attention(bundle, [checkpoint, checkpoint], scan, output, name="ct")
    from .test_report import with_architecture

    with_architecture(bundle, {"name": "unet", "feature_scale": 8})
    with pytest.raises(ConfigError, match="no attention over space"):
        write_attention(bundle, [checkpoint], scan, output, name="ct")


def test_settings_of_labels_leave_the_maps_alone(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle, checkpoint, scan = trained
    want = attention_of(bundle, checkpoint, scan)
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    file = other / "configs" / "inference.yaml"
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config |= {"interpolate_probabilities": True, "coarse": 2, "engine": "auto"}
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    found = attention_of(other, checkpoint, scan)
    assert want is not None and found is not None
    for gate, maps in want.coefficients.items():
        np.testing.assert_array_equal(found.coefficients[gate], maps)
        assert maps.min() >= 0 and maps.max() <= 1
    np.testing.assert_array_equal(found.labels, want.labels)
