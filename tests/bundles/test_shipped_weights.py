"""Bundles that come with weights: they run by their name, and their weights are of their plan."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from gridgate.data.errors import ConfigError
from gridgate.data.phantom.dataset import write_phantom_dataset
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.models.build import build_network
from gridgate.pipeline.models.checkpoints import carry_plan, training_folder
from gridgate.pipeline.plans import bundle_folders, writing
from gridgate.pipeline.plans.bundle_folders import bundles_with_weights
from gridgate.pipeline.plans.plan import Plan
from gridgate.pipeline.plans.planning import read_plan
from gridgate.pipeline.training.folder.run_folder import check_unseen

WEIGHTS = Path("models") / "model.pt"
PLAN: dict[str, Any] = {
    "dataset": "phantom",
    "description": "A small network for the tests of shipped weights.",
    "network": {"name": "unet", "filters": [2, 4, 4, 4, 4]},
    "spacing": [4.0, 4.0, 4.0],
    "roi_size": [16, 16, 16],
    "keep_largest": False,
    "body_threshold": None,
    "results": "Not measured.",
    "weights": {
        "trained_on": "Twelve phantoms.",
        "data_licence": "Made by Gridgate.",
        "not_for": "People.",
    },
}
HERE = ["--device", "cpu", "--isolate", "False", "--amp", "False"]


def random_weights(plan: Plan) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = build_network(plan.network, in_channels=1, out_channels=len(plan.labels))
    return carry_plan(network.state_dict(), plan)


def write_plan(folder: Path, name: str, **changes: Any) -> Path:
    path = folder / "plans" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({**PLAN, **changes}))
    return path


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package's folder of two bundles, of which `with_weights` has some."""
    folder = tmp_path / "package"
    (folder / "with_weights" / "models").mkdir(parents=True)
    for name in ("with_weights", "without"):
        path = write_plan(folder, name)
    plan = read_plan(path).replace(name="with_weights")
    torch.save(random_weights(plan), folder / "with_weights" / WEIGHTS)
    monkeypatch.setattr(bundle_folders, "bundles_folder", lambda: folder)
    monkeypatch.setattr(writing, "bundles_folder", lambda: folder)
    monkeypatch.setattr(writing, "PLANS", folder / "plans")
    writing.main()
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another working folder, with a scan."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE"):
        monkeypatch.setenv(name, "0")  # so that what main() sets is taken back
    (tmp_path / "work" / "scans").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    voxels = np.random.default_rng(0).integers(-200, 300, (17, 16, 18)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([4.0, 4.0, 5.0, 1.0])), "scans/ct.nii.gz")
    return tmp_path / "work"


def state_of(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in sorted(folder.rglob("*"))
    }


def read_only(folder: Path, *, yes: bool = True) -> None:
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode & ~0o222 if yes else mode | stat.S_IWUSR)


# running


def test_the_phantoms_weights_find_organs_in_a_phantom_that_they_never_saw(
    elsewhere: Path,
) -> None:
    """The committed file, by the bundle's name, against the labels that the phantom was made of."""
    write_phantom_dataset("unseen", cases=1, seed=7000, progress=False)
    (scan,) = Path("unseen/imagesTr").glob("*.nii.gz")
    (label,) = Path("unseen/labelsTr").glob("*.nii.gz")
    assert main(["infer", "phantom_attention_unet", str(scan), "mask.nii.gz", *HERE]) == 0
    mask, truth = (np.asanyarray(nib.load(path).dataobj) for path in ("mask.nii.gz", label))
    np.testing.assert_array_equal(nib.load("mask.nii.gz").affine, nib.load(scan).affine)
    for value in range(1, 7):
        found, drawn = mask == value, truth == value
        assert 2 * (found & drawn).sum() / (found.sum() + drawn.sum()) > 0.85, value


@pytest.mark.parametrize("bundle", bundles_with_weights(), ids=lambda path: path.name)
def test_committed_weights_are_small_and_in_half_precision(bundle: Path) -> None:
    path = bundle / WEIGHTS
    assert path.stat().st_size <= 10e6
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {
        torch.float16
    }


def test_a_bundle_with_weights_runs_by_its_name_and_writes_nothing_beside_itself(
    bundles: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read_only(bundles)
    before = state_of(bundles)
    try:
        assert main(["infer", "with_weights", "scans/ct.nii.gz", "mask.nii.gz", *HERE]) == 0
        assert main(["infer", "with_weights", "scans", "masks", *HERE]) == 0
        assert state_of(bundles) == before
    finally:
        read_only(bundles, yes=False)
    masks = [nib.load(name).get_fdata() for name in ("mask.nii.gz", "masks/ct.nii.gz")]
    weights = str(bundles / "with_weights" / WEIGHTS)
    words = ["infer", "without", "scans/ct.nii.gz", "same.nii.gz", *HERE]
    assert main([*words, "--checkpoint", weights]) == 0  # the same plan
    for mask in masks:
        np.testing.assert_array_equal(mask, nib.load("same.nii.gz").get_fdata())
    assert len(np.unique(masks[0])) > 1


def test_a_bundle_without_weights_says_which_have_some(
    bundles: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("mask.nii.gz", "masks"):
        assert main(["infer", "without", "scans/ct.nii.gz", output, *HERE]) == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert "without/models/model.pt: there is no such checkpoint" in told
        assert told.endswith("Bundles that come with weights: with_weights")
    assert main(["infer", "with_weights", "scans", "m", *HERE, "--checkpoint", "no.pt"]) == 1
    assert "come with weights" not in capsys.readouterr().err
    (bundles / "with_weights" / WEIGHTS).unlink()
    assert main(["infer", "without", "scans/ct.nii.gz", "mask.nii.gz", *HERE]) == 1
    assert "No bundle that comes with Gridgate has weights" in capsys.readouterr().err
    assert not Path("mask.nii.gz").exists()


# the list, and copies


def test_the_list_tells_the_size_of_weights(
    bundles: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(bundles / "with_weights" / WEIGHTS, "ab") as file:
        file.truncate(2_340_000)
    assert main(["bundles"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:4] == ["with_weights", "weights", "2.3", "MB"]
    assert second.split()[:3] == ["without", "no", "weights"]


def test_a_copy_has_the_weights_and_is_writable(
    bundles: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read_only(bundles)
    try:
        assert main(["bundles", "--copy", "with_weights", "--to", "mine"]) == 0
    finally:
        read_only(bundles, yes=False)
    copied = elsewhere / "mine" / WEIGHTS
    assert copied.read_bytes() == (bundles / "with_weights" / WEIGHTS).read_bytes()
    assert all(path.stat().st_mode & stat.S_IWUSR for path in (elsewhere / "mine").rglob("*"))
    assert main(["infer", "mine", "scans/ct.nii.gz", "mask.nii.gz", *HERE]) == 0


# writing


def test_the_page_says_what_the_weights_are(bundles: Path) -> None:
    size = f"{os.path.getsize(bundles / 'with_weights' / WEIGHTS) / 1e6:.1f} MB"
    page = (bundles / "with_weights" / "docs" / "README.md").read_text()
    assert f"(`models/model.pt`, {size})" in page
    assert "gridgate infer with_weights CTS M" in page
    assert "gridgate train with_weights D O" in page and "Weights do not come" not in page
    for title, text in (
        ("What it was trained on", "Twelve phantoms."),
        ("Licence of the data", "Made by Gridgate."),
        ("What it must not be used for", "People."),
    ):
        assert f"\n## {title}\n\n{text}\n" in page
    other = (bundles / "without" / "docs" / "README.md").read_text()
    assert "Weights do not come with this bundle" in other and "Twelve" not in other
    text = (bundles / "with_weights" / "configs" / "metadata.json").read_text()
    assert "Twelve phantoms" not in text  # it is of these weights, not of the plan


def test_texts_that_are_not_given_have_no_place(bundles: Path) -> None:
    write_plan(bundles, "with_weights", weights={"not_for": "People."})
    writing.main()
    page = (bundles / "with_weights" / "docs" / "README.md").read_text()
    assert "must not be used for" in page and "Licence of the data" not in page


def test_weights_stay_as_they_are_and_of_their_plan(bundles: Path) -> None:
    weights = bundles / "with_weights" / WEIGHTS
    before, page = weights.read_bytes(), bundles / "with_weights" / "docs" / "README.md"
    write_plan(bundles, "with_weights", overlap=0.25, results="Measured again.")
    writing.main()  # weights do not depend on the overlap
    assert weights.read_bytes() == before and "Measured again." in page.read_text()
    state = state_of(bundles / "with_weights")
    write_plan(bundles, "with_weights", spacing=[3.0, 3.0, 3.0])
    with pytest.raises(ConfigError, match=r"model\.pt: .*spacing \[4, 4, 4\] \(now \[3, 3, 3\]\)"):
        writing.main()
    assert state_of(bundles / "with_weights") == state


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"no weights", "cannot be read as weights"), (None, "carries no plan; .*gridgate export O")],
)
def test_weights_that_carry_no_plan_are_refused(
    bundles: Path, content: bytes | None, told: str
) -> None:
    path = bundles / "with_weights" / WEIGHTS
    if content is None:
        torch.save(dict(torch.load(path, weights_only=True)), path)
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"model\.pt: {told}"):
        writing.main()


def test_other_texts_of_weights_are_refused(bundles: Path) -> None:
    write_plan(bundles, "without", weights={"license": "MIT"})
    with pytest.raises(ConfigError, match="weights has no license; it takes data_licence, not_for"):
        writing.main()
    write_plan(bundles, "without", weights="MIT")
    with pytest.raises(ConfigError, match="weights is a mapping of texts"):
        writing.main()


# measuring


def test_cases_that_shipped_weights_were_trained_on_are_refused(bundles: Path) -> None:
    folder = bundles / "with_weights"
    check_unseen(training_folder(folder / WEIGHTS), ["a"])  # nothing is known
    split = [{"train": ["a", "b"], "validation": []}]
    (folder / "splits.json").write_text(json.dumps(split))
    settings = {"format": 2, "settings": {"fold": 0, "folds": 1}, "dataset": {}}
    (folder / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="trained on all of its 2 cases, and held none out"):
        check_unseen(training_folder(folder / WEIGHTS), ["a", "z"])
    check_unseen(training_folder(folder / WEIGHTS), ["z"])
    writing.main()
    assert json.loads((folder / "splits.json").read_text()) == split
