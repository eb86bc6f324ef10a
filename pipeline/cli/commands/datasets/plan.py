"""`gridgate plan`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .....data.errors import ConfigError
from .....data.new_folder import refuse_existing
from ...arguments import parse_overrides
from ...console import add_console_options, say_last


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "plan",
        help="a bundle that fits a dataset, and the reason of each decision",
        epilog="any setting of the plan is taken as it is given: --spacing '[1, 1, 2.5]' "
        "--training::batch_size 4",
        takes_settings=True,
    )
    option = command.add_argument
    option("dataset_dir", metavar="D", help="dataset folder, or with --explain a planned bundle")
    option("--to", metavar="BUNDLE", help="new folder; without it nothing is written")
    option("--network", metavar="NAME", help="a name that `gridgate networks` lists")
    option(
        "--size", choices=("small", "medium", "paper"), help="of the network; decided if not given"
    )
    option("--time", metavar="T", help="of a training, such as 20m or 2d (default: 1h)")
    option("--memory", metavar="M", help="for a training, such as 16GB (default: what is here)")
    option("--device", default="auto", help="auto, cpu, cuda or cuda:N; one that is not here")
    option("--explain", action="store_true", help="print the reason of each decision")
    option("--workers", type=int, metavar="N", help="processes that read the cases")
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Measure the dataset, decide, write the bundles, print what was decided."""
    from .....data.datasets.fingerprint.measuring import measure_fingerprint
    from ....planning.bundle import FILE, plan_bundle, read_decisions, write_planned
    from ....planning.decisions.grid import half_resolution
    from ....planning.decisions.network import DEFAULT
    from ....planning.measures.machine import planned_machine
    from ....planning.text import decisions_text
    from ....plans.plan_settings import check_settings

    if options.explain and (Path(options.dataset_dir) / FILE).is_file():
        say_last(decisions_text(read_decisions(options.dataset_dir), explain=True))
        return
    target = Path(options.to) if options.to else None
    half_target = target.with_name(f"{target.name}_half") if target else None
    for folder in (target, half_target):
        if folder is not None:
            refuse_existing(folder, "give another folder with --to")
    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers {options.workers}: give 1 or more")
    machine = planned_machine(options.device, options.memory, options.time)
    settings = parse_overrides(options.settings)
    check_settings(settings, [options.network or DEFAULT])
    fingerprint = measure_fingerprint(options.dataset_dir, workers=options.workers)
    name = target.name if target else fingerprint.dataset.replace(" ", "_")
    asked: dict[str, Any] = {
        "network": options.network,
        "size": options.size,
        "settings": settings,
    }
    planned = plan_bundle(fingerprint, machine, name=name, **asked)
    values = {one.name: one.value for one in planned.decisions}
    half = None
    if "spacing" not in settings:
        half = half_resolution(fingerprint, values["spacing"], values["roi_size"])
    second = None
    if half is not None:
        second = plan_bundle(fingerprint, machine, name=f"{name}_half", spacing=half, **asked)
    say_last(decisions_text(planned.decisions, explain=options.explain))
    if second is not None:
        say_last(f"\nA second plan: {half.reason if half else ''}\n")
        changed = [one for one in second.decisions if values.get(one.name) != one.value]
        say_last(decisions_text(changed, explain=options.explain))
    if target is not None and half_target is not None:
        say_last("")
        for bundle, folder in ((planned, target), (second, half_target)):
            if bundle is not None:
                write_planned(bundle, folder)
                say_last(f"written: {folder}")
        say_last(f"next:    gridgate train {target} {options.dataset_dir} OUTPUT")
