"""`gridgate submit`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError
from ..arguments import Parser
from ..bundle_run import bundle_workflow, given_words
from ..completion import bundle_names, files
from ..console import add_console_options, say_last

logger = logging.getLogger(__name__)

_EPILOG = """examples:
  gridgate submit infer trained scans masks --shards 8 --partition gpu --gpus 1 --time 4h
  gridgate submit infer trained scans masks --shards 2 --executor local
  gridgate submit evaluate trained dataset scores --shards 4 --part all --slurm '{account: lab}'

Each shard is a task of one job array and runs gridgate infer with --shard i/n. A job that is
preempted, or whose time is up, is started again where it was. Settings are those of gridgate infer
and gridgate evaluate."""
_RUNS = {
    "infer": ("inference.yaml", "inferring", "input_dir"),
    "evaluate": ("evaluate.yaml", "evaluating", "dataset_dir"),
}


def add(subparsers: Any) -> None:
    """Describe the command."""
    command: Parser = subparsers.add_parser(
        "submit",
        help="a run as jobs of a cluster: SLURM",
        usage="gridgate submit infer BUNDLE SCANS OUTPUT --shards N [--SETTING VALUE ...]\n"
        "       gridgate submit evaluate BUNDLE DATASET OUTPUT --shards N [options] ...",
        description="Submit the shards of a run as a job array of SLURM's, or try them as "
        "processes of this machine. Needs submitit: pip install 'gridgate[slurm]'.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
    )
    option = command.add_argument
    option("what", metavar="infer|evaluate", choices=tuple(_RUNS), help="what is run")
    option("bundle", metavar="BUNDLE", nargs="?", help="a bundle's name or folder").completer = (  # type: ignore[attr-defined]
        bundle_names
    )
    paths = [
        option("source", metavar="SCANS", nargs="?", help="what is read, on all machines"),
        option("output", metavar="OUTPUT", nargs="?", help="folder for all shards' results"),
        option("-i", "--input", metavar="SCANS", help="SCANS, by name"),
        option("-o", "--output", dest="to", metavar="OUTPUT", help="OUTPUT, too"),
    ]
    for path in paths:
        path.completer = files  # type: ignore[attr-defined]
    _add_job_options(command)
    add_console_options(command)
    command.set_defaults(refuse=command.error)


def run(options: argparse.Namespace) -> None:
    """Submit; with --wait, and of this machine's processes, wait for the end."""
    from ..submission import JOBS, submit, submitit_module, wait_for

    submitit_module()
    config, run_id, source_id = _RUNS[options.what]
    words = given_words(options, source_id)
    for name in ("shard", "ray"):
        if name in words:
            raise ConfigError(f"--{name} is decided by gridgate submit; leave it out")
    if options.shards < 1:
        raise ConfigError(f"--shards {options.shards}: give 1 or more")
    if not Path(words[source_id]).exists():
        raise ConfigError(f"{words[source_id]}: there is no such file or folder")
    options.config = config
    bundle_workflow(options, run_id, words).check()
    output = Path(words.pop("output_dir")).absolute()
    bundle = options.bundle
    if Path(bundle).is_dir():
        bundle = str(Path(bundle).absolute())
    command = [options.what, bundle, "-i", str(Path(words.pop(source_id)).absolute())]
    command += ["-o", str(output)]
    for name, text in words.items():
        command.append(f"--{name}={text}")
    jobs = submit(command, options.shards, output, _job_options(options))
    if options.executor == "slurm" and not options.wait:
        number = str(jobs[0].job_id).partition("_")[0]
        say_last(
            f"job {number}: {options.shards} shards; logs: {output / JOBS}; how far they are: "
            f"gridgate merge {output}"
        )
        return
    _end(wait_for(jobs, output, local=options.executor == "local"), output)


def _end(ended: Any, output: Path) -> None:
    from ....data.shared_folder import SharedFolder
    from ...batch.evaluator import CasesFailedError
    from ...batch.shards.standing import standing
    from ..submission import JOBS

    folder = SharedFolder(output)
    with folder, folder.gate():
        found = standing(folder)
    text = f"{output}: {found or 'done'}"
    lost = f"{len(ended.lost)} jobs were killed ({', '.join(ended.lost)})" if ended.lost else ""
    whole = found is not None and not found.missing
    if lost and whole:
        logger.warning(f"{lost}; the others have done their cases")
    left = "" if found is None or whole or found.running else "cases are left; submit again"
    if ended.failed or (lost and not whole) or left:
        why = "; ".join([*ended.failed[:1], *(one for one in (lost, left) if one)])
        raise CasesFailedError(f"{text}\n{why}; logs: {output / JOBS}")
    say_last(text)


def _add_job_options(command: Parser) -> None:
    option = command.add_argument_group("jobs").add_argument
    option("--shards", type=int, required=True, metavar="N", help="jobs that share the cases")
    option(
        "--executor",
        choices=("slurm", "local"),
        default="slurm",
        help="local: processes of this machine, all at once (default: slurm)",
    )
    option("--partition", metavar="NAME", help="SLURM's partition")
    option("--time", metavar="T", help="of each job: 20m, 4h or 2d")
    option("--gpus", type=int, metavar="N", help="of each job")
    option("--cpus", type=int, metavar="N", help="cores of each job")
    option("--memory", type=float, metavar="GB", help="of each job")
    option("--at-once", type=int, metavar="N", help="jobs that run at the same time at the most")
    option(
        "--slurm",
        metavar="'{KEY: VALUE}'",
        help="other parameters of submitit for SLURM: account, qos, constraint, setup, ...",
    )
    option("--wait", action="store_true", help="wait for the jobs and say what became of them")


def _job_options(options: argparse.Namespace) -> Any:
    from ...config.values import read_value
    from ...planning.measures.machine import parse_time
    from ..submission import JobOptions

    more = {} if options.slurm is None else read_value(options.slurm)
    if not isinstance(more, dict):
        raise ConfigError(f"--slurm {options.slurm}: write it as '{{account: lab, qos: low}}'")
    if options.partition is not None:
        more["partition"] = options.partition
    minutes = None if options.time is None else max(1, round(parse_time(options.time) / 60))
    return JobOptions(
        executor=options.executor,
        minutes=minutes,
        gpus=options.gpus,
        cpus=options.cpus,
        memory_gb=options.memory,
        at_once=options.at_once,
        more=more,
    )
