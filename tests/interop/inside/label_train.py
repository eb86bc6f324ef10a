"""MONAI Label's BundleTrainTask, a round for each number of labelled cases."""

import json
import os
import sys
from pathlib import Path

from stand_ins import stand_in_for_torchvision

stand_in_for_torchvision()
from monailabel.tasks.train.bundle import BundleTrainTask  # noqa: E402


class Store:
    """A datastore's labelled cases."""

    def __init__(self, cases: list[dict[str, str]]) -> None:
        self.cases = cases

    def datalist(self) -> list[dict[str, str]]:
        return self.cases


asked = json.loads(sys.argv[1])
bundle = Path(asked["bundle"])
rounds = []
for cases in asked["rounds"]:
    task = BundleTrainTask(str(bundle), {})
    request = {"model": "segmentation", "device": "cpu", **asked["request"]}
    error = None
    try:
        task(request, Store(cases))
    except Exception as raised:
        causes = []
        while raised is not None:
            causes.append(f"{type(raised).__name__}: {raised}")
            raised = raised.__cause__
        error = causes
    weights = bundle / "models" / "model.pt"
    copy = None
    if weights.is_file():
        copy = str(bundle.parent / f"round_{len(rounds)}.pt")
        Path(copy).write_bytes(weights.read_bytes())
    rounds.append({"error": error, "weights": copy})
print(json.dumps({"rounds": rounds, "left": sorted(os.listdir("."))}))
