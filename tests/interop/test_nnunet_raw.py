"""An exported dataset in the hands of nnU-Net itself: its own check of a raw dataset.

The environment lies in .interop/nnunet at the repository's root; `make interop` makes it.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources.nnunet import nnunet_source
from gridgate.data.datasets.sources.nnunet_export import export_nnunet

ROOT = Path(__file__).resolve().parents[2]
CHECK = """
import json, sys
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
folder = sys.argv[1]
verify_dataset_integrity(folder, num_processes=1)
found = get_filenames_of_train_images_and_targets(folder)
with open(folder + "/splits_final.json") as stream:
    folds = json.load(stream)
assert all(sorted(fold["train"] + fold["val"]) == sorted(found) for fold in folds)
print(json.dumps(sorted(found)))
"""


@pytest.mark.slow
def test_nnunet_finds_our_export_sound_and_our_folds_complete(
    phantom_ct: Path, tmp_path: Path
) -> None:
    program = ROOT / ".interop/nnunet/bin/python"
    if not program.exists():
        pytest.skip(f"{program} is not there: `make interop` makes the environment")
    folder = export_nnunet(phantom_ct, tmp_path / "raw/Dataset501_Phantom", folds=2)
    ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    for name in ("raw", "preprocessed", "results"):
        variables[f"nnUNet_{name}"] = str(tmp_path / name)
    done = subprocess.run(
        [str(program), "-c", CHECK, str(folder)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "verify_dataset_integrity Done" in done.stdout
    ids = json.loads(done.stdout.strip().splitlines()[-1])
    assert ids == [case.id for case in load_dataset(phantom_ct).cases]
    write_dataset(nnunet_source(folder), tmp_path / "D")
    assert [case.id for case in load_dataset(tmp_path / "D").cases] == ids
