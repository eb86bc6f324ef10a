"""A small bundle with weights, for attention maps; a browser."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from gridgate import networks
from gridgate.data.phantom.phantom import make_phantom

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# without a GPU WebGL is computed
_GRAPHICS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
BUNDLE = Path(__file__).resolve().parents[3] / "bundles" / "phantom_attention_unet"


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A copy of the phantom bundle, weights for it, and a scan of one window."""
    torch.manual_seed(0)
    bundle = shutil.copytree(BUNDLE, tmp_path / "bundle")
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    plan, window = (
        metadata["plan"]["network"],
        metadata["network_data_format"]["inputs"]["image"]["spatial_shape"],
    )
    torch.save(
        networks.build(**plan, in_channels=1, out_channels=7).state_dict(), tmp_path / "model.pt"
    )
    phantom = make_phantom(
        1, shape=tuple(window), spacing=(4.0, 4.0, 4.0), orientation="RAS", oblique_degrees=0
    )
    nib.save(
        nib.Nifti1Image(phantom.image.astype(np.int16), phantom.grid.affine), tmp_path / "ct.nii.gz"
    )
    return bundle, tmp_path / "model.pt", tmp_path / "ct.nii.gz"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *_GRAPHICS]
        )
        yield browser
        browser.close()
