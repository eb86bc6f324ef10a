"""The training whose memory `cache.py memory` measures, in a process of its own.

    python benchmarks/datasets/cache_training.py JOB.json --share 1
    python benchmarks/datasets/cache_training.py JOB.json --take 8 --store CACHE

The second stores so many cases of the training and of the validation, and lays copies of them under
the keys of all others.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from gridgate.pipeline.process_settings import set_up_process

set_up_process()  # before PyTorch
from monai.transforms import Compose  # noqa: E402

from gridgate.data.datasets.cache.folder import CaseCache  # noqa: E402
from gridgate.pipeline.plans.bundle_folders import bundle_path  # noqa: E402
from gridgate.pipeline.training.windows.key import case_key, hashed, settings_of  # noqa: E402
from gridgate.pipeline.training.windows.stored import stages_of  # noqa: E402
from gridgate.pipeline.workflow import BundleRun  # noqa: E402


def main() -> None:
    """Run one job, and tell in told.json how many cases it had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path)
    parser.add_argument("--share", type=int, default=1, help="train on one case in so many")
    parser.add_argument("--take", type=int)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    job = json.loads(options.job.read_text())
    run = BundleRun(bundle_path(job["bundle"]), "train.yaml", "training", job["words"])
    run.initialize()
    parts = [run.parser.get_parsed_content(f"{name}::dataset") for name in ("train", "validate")]
    every = [list(part.data) for part in parts]
    for part in parts:
        part.data = part.data[: options.take] if options.take else part.data[:: options.share]
    if options.take:
        for part, items in zip(parts, every, strict=True):
            part.load()
            copy(part.data, items, part.transform, options.store)
    else:
        run.run()
        run.finalize()
    told = {"cases": len(parts[0].data), "validated on": len(parts[1].data)}
    told["MB of a case in memory"] = round(size(parts[0]) / 1e6)
    (options.job.parent / "told.json").write_text(json.dumps(told))


def copy(made: list[Any], items: list[Any], transform: Any, store: Path) -> None:
    """Lay copies of the stored cases under the keys of all items."""
    cache = CaseCache(store)
    stages, _ = stages_of(Compose([transform]).flatten())
    settings = [settings_of(stage.transforms) for stage in stages]
    for number, item in enumerate(items):
        keys = [chain(one, cache, settings) for one in (made[number % len(made)], item)]
        for source, target in zip(*keys, strict=True):
            places = [store / "cases" / key[:2] / key for key in (source, target)]
            if not places[1].is_dir():
                shutil.copytree(places[0], places[1])


def chain(item: Any, cache: CaseCache, settings: list[Any]) -> list[str]:
    """The keys of a case's stages."""
    keys = [case_key(item, cache.content_of, settings[0])]
    for more in settings[1:]:
        keys.append(hashed([keys[-1], more]))
    return keys


def size(part: Any) -> int:
    """Bytes of a case's tensors."""
    case = part.load()[0]
    return sum(one.numel() * one.element_size() for one in case.values() if hasattr(one, "numel"))


if __name__ == "__main__":
    main()
