"""The machine of cuda.sh as JSON: the card, its driver, and the versions of what computes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from gridgate.pipeline.models.machine import machine_facts


def main(result: str) -> None:
    """Write the facts to the file that is named."""
    facts = [[str(name), str(value)] for name, value in machine_facts()]
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        facts += [
            ["GPU", f"{card.name}, {card.total_memory / 2**30:.0f} GiB"],
            ["CUDA, cuDNN", f"{torch.version.cuda}, {torch.backends.cudnn.version()}"],
        ]
    else:
        facts.append(["GPU", "none: a dry run on the CPU"])
    Path(result).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
