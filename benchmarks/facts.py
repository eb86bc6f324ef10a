"""What the benchmark runs on, as JSON on stdout, so that inference.py imports no PyTorch."""

from __future__ import annotations

import json

from gridgate.pipeline.models.devices import cpu_has_bfloat16
from gridgate.pipeline.models.machine import machine_facts


def main() -> None:
    """Print hardware, versions, and whether the CPU multiplies bfloat16."""
    print(json.dumps({"machine": machine_facts(), "cpu_has_bfloat16": cpu_has_bfloat16()}))


if __name__ == "__main__":
    main()
