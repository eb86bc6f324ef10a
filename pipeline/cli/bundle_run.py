"""What train, evaluate and infer share: a bundle's workflow with settings of its config."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from ..batch.workers.started import end_ahead, start_ahead
from .arguments import Parser, read_settings, refuse_reserved
from .completion import bundle_names, files
from .console import add_console_options, silence_handlers_of
from .settings import Setting, settings_of

_LONGEST_DEFAULT = 60
_COLUMN = 30


def add_bundle_run(
    subparsers: Any,
    name: str,
    text: str,
    *,
    config: str,
    source: tuple[str, str],
    output: str = "folder to write to",
    examples: Sequence[str] = (),
) -> Parser:
    """A command `name BUNDLE SOURCE OUTPUT [--SETTING VALUE ...]`.

    Args:
        config: name of the workflow's file, whose settings the help lists.
        source: name and description of the second argument.
        output: description of the third.
        examples: command lines.
    """
    command: Parser = subparsers.add_parser(
        name,
        help=text,
        usage=f"gridgate {name} BUNDLE {source[0]} OUTPUT [--SETTING VALUE ...]\n"
        f"       gridgate {name} BUNDLE -i {source[0]} -o OUTPUT [--SETTING VALUE ...]",
        description=text[0].upper() + text[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
        more_help=lambda words: settings_help(config, words),
    )
    where = "a bundle's name (see: gridgate bundles) or folder; that of a training is one"
    command.add_argument("bundle", metavar="BUNDLE", nargs="?", help=where).completer = (  # type: ignore[attr-defined]
        bundle_names
    )
    inside = command.add_argument("source", metavar=source[0], nargs="?", help=source[1])
    outside = command.add_argument("output", metavar="OUTPUT", nargs="?", help=output)
    into = command.add_argument("-i", "--input", metavar=source[0], help=f"{source[0]}, by name")
    out = command.add_argument("-o", "--output", dest="to", metavar="OUTPUT", help="OUTPUT, too")
    for path in (inside, outside, into, out):
        path.completer = files  # type: ignore[attr-defined]
    add_console_options(command)
    command.set_defaults(refuse=command.error, config=config)
    return command


def given_words(options: argparse.Namespace, source_id: str) -> dict[str, str]:
    """Id -> text of what the command line gives: its settings, source and output; sets `bundle`.

    Raises:
        ConfigError: a setting is malformed, or decided by another word.
    """
    places = [options.bundle, options.source, options.output]
    given = [word for word in places if word is not None]
    wanted = ["bundle"]
    wanted += [] if options.input is not None else ["source"]
    wanted += [] if options.to is not None else ["output"]
    if len(given) != len(wanted):
        names = {"bundle": "BUNDLE", "source": "what to read (-i)", "output": "OUTPUT (-o)"}
        missing = ", ".join(names[one] for one in wanted[len(given) :])
        options.refuse(f"missing: {missing}" if missing else f"one word too many: {given[-1]}")
    found = dict(zip(wanted, given, strict=True))
    options.bundle = found["bundle"]
    settings = read_settings(options.settings)
    command = f"`gridgate {options.command}`"
    here = "the arguments BUNDLE, " + ("DATASET" if source_id == "dataset_dir" else "SCANS")
    refuse_reserved(
        settings,
        {
            "run_id": f"{command}; use python -m monai.bundle run",
            "config_file": f"{command}; use python -m monai.bundle run",
            "bundle_root": f"{here} and OUTPUT",
            source_id: f"{here} and OUTPUT",
            "output_dir": f"{here} and OUTPUT",
        },
    )
    return {
        source_id: found.get("source", options.input),
        "output_dir": found.get("output", options.to),
        **settings,
    }


def run_bundle(options: argparse.Namespace, run_id: str, words: dict[str, str]) -> None:
    """Run a bundle's workflow on the words of `given_words`.

    Raises:
        GridgateError: whatever the user can mend.
    """
    if _needs_worker(run_id, words):
        start_ahead()
    try:
        workflow = bundle_workflow(options, run_id, words)
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    finally:
        end_ahead()


def _needs_worker(run_id: str, words: Mapping[str, str]) -> bool:
    """Whether worker processes will compute the cases, as far as can be told before any import."""
    if run_id == "training" or words.get("ray") or words.get("isolate", "").lower() == "false":
        return False
    return run_id == "evaluating" or Path(words["input_dir"]).is_dir()


def bundle_workflow(options: argparse.Namespace, run_id: str, words: dict[str, str]) -> Any:
    """The workflow itself, a `BundleRun`, not yet begun.

    Raises:
        ConfigError: no such bundle; an unknown setting, or an impossible value.
    """
    from ..plans.bundle_folders import bundle_path
    from ..workflow import BundleRun

    silence_handlers_of("monai")
    return BundleRun(bundle_path(options.bundle), options.config, run_id, words)


def settings_help(config: str, words: Sequence[str]) -> str:
    """The settings of a workflow as text, with the defaults of the bundle among the words."""
    settings: list[Setting] = []
    bundle = ""
    for word in words:
        try:
            settings, bundle = settings_of(config, word), word
            break
        except ConfigError:
            continue
    width = max(60, shutil.get_terminal_size((100, 24)).columns - 2)
    told = f"of {bundle}" if bundle else "of the bundle; with a BUNDLE before --help its own"
    lines = [f"settings, --SETTING VALUE, and their defaults ({told}):"]
    group = ""
    for setting in settings or settings_of(config):
        if setting.group != group:
            group = setting.group
            lines += ["", *textwrap.wrap(f"{group}:", width)]
        default = textwrap.shorten(setting.default, _LONGEST_DEFAULT, placeholder=" ...")
        text = setting.meaning + (f" (default: {default})" if default else "")
        body = textwrap.wrap(text, width - _COLUMN, break_long_words=False)
        lines.append(f"  --{setting.name:{_COLUMN - 5}s} {body[0]}")
        lines += [" " * _COLUMN + line for line in body[1:]]
    more = (
        "Each other value of the config can be set too, by its id, such as "
        f"{'--train::optimizer::lr' if config == 'train.yaml' else '--inferer::sigma_scale'} 0.1; "
        f"see configs/{config} of the bundle. null is none, and lists are written '[1, 2]'."
    )
    return "\n".join([*lines, "", *textwrap.wrap(more, width), ""])
