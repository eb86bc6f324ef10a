"""What the model zoo's checker (its ci/verify_bundle.py) asks of a bundle, by its JSON configs."""

import json
import shutil
from pathlib import Path

import torch
from monai.bundle import ckpt_export, load, verify_net_in_out

from gridgate.pipeline.models.build import build_network

from .test_bundles import BUNDLES, FOLDER, each_bundle, metadata, small_network

MOST_BYTES = 25_000_000  # of a single file
INTEROP = Path(__file__).resolve().parents[1] / "interop"
TESTED_IN = {"monailabel": "test_monailabel.py", "monai-deploy-app-sdk": "test_deploy.py"}


@each_bundle
def test_the_folder_holds_what_the_zoo_wants(name: str) -> None:
    bundle = FOLDER / name
    for file in ("LICENSE", "docs/README.md", "configs/metadata.json", "configs/inference.json"):
        assert (bundle / file).stat().st_size > 100, file
    sizes = {path: path.stat().st_size for path in bundle.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= MOST_BYTES
    content = metadata(name)
    assert content["version"] in content["changelog"]
    formats = content["network_data_format"]
    for side, key in (("inputs", "image"), ("outputs", "pred")):
        form = formats[side][key]
        assert len(form["channel_def"]) == form["num_channels"]


@each_bundle
def test_each_app_that_is_named_is_tried_with_the_real_package(name: str) -> None:
    apps = metadata(name)["supported_apps"]
    assert set(apps) == set(TESTED_IN)
    made = (INTEROP / "make_environments").read_text()
    for app, version in apps.items():
        assert f"{app}=={version}" in made  # that version is what the tests run
        assert (INTEROP / TESTED_IN[app]).is_file()


@each_bundle
def test_the_network_of_the_json_config_gives_what_the_metadata_says(name: str) -> None:
    bundle = FOLDER / name
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
        device="cpu",
        **small_network(name),
    )


def test_the_checkers_export_and_monais_load(tmp_path: Path) -> None:
    name = BUNDLES[-1]
    bundle = Path(shutil.copytree(FOLDER / name, tmp_path / name))
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    torch.manual_seed(0)
    network = build_network(
        config["architecture"], in_channels=1, out_channels=len(config["labels"])
    ).eval()
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    ckpt_export(
        net_id="network_def",
        filepath=str(bundle / "models" / "verify_model.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
    )
    image = torch.rand(1, 1, *config["roi_size"])
    exported = torch.jit.load(str(bundle / "models" / "verify_model.ts")).eval()
    loaded = load(name, bundle_dir=str(tmp_path), source="github", device="cpu").eval()
    with torch.no_grad():
        expected = network(image)
        torch.testing.assert_close(exported(image), expected)
        torch.testing.assert_close(loaded(image), expected)
    assert expected.std() > 0
