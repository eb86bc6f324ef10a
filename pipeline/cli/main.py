"""The `gridgate` command: wires the commands; an error that a user can mend is one line."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Sequence
from types import ModuleType

from ... import __version__
from ...data.errors import user_error
from ..process_settings import set_up_process
from .arguments import Parser
from .commands import (
    attention,
    combine,
    compare,
    demo,
    evaluate,
    export,
    fit,
    import_model,
    infer,
    merge,
    new_bundle,
    quantise,
    report,
    submit,
    train,
    view,
)
from .commands.catalogues import bundles, losses, networks
from .commands.datasets import cache, check, export_dataset, import_, phantom, plan
from .completion import complete
from .console import console, say_end, say_error

COMMANDS: dict[str, ModuleType] = {
    "import": import_,
    "import-model": import_model,
    "check": check,
    "plan": plan,
    "fit": fit,
    "new-bundle": new_bundle,
    "train": train,
    "evaluate": evaluate,
    "combine": combine,
    "compare": compare,
    "infer": infer,
    "submit": submit,
    "merge": merge,
    "report": report,
    "view": view,
    "attention": attention,
    "bundles": bundles,
    "cache": cache,
    "export-dataset": export_dataset,
    "phantom": phantom,
    "export": export,
    "quantise": quantise,
    "networks": networks,
    "losses": losses,
    "demo": demo,
}
_FAILED, _STOPPED, _NO_READER = 1, 130, 141  # the last two as of a shell: 128 and the signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        The exit code: 0; 1 after an error that is the user's to mend; 130 after Ctrl-C; 141 when
        it was cut off because nobody reads its output any more (`gridgate bundles | head -1`).
    """
    set_up_process()
    code = _NO_READER
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except SystemExit:  # of argparse, when it has printed help, the version or an error
        if _reader_is_gone():
            _write_nowhere()
        raise
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        _write_nowhere()
    return code


def parser() -> Parser:
    """The command line of all commands."""
    made = Parser(prog="gridgate", description="3D CT segmentation by MONAI bundles.")
    made.add_argument("--version", action="version", version=f"gridgate {__version__}")
    subparsers = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        command.add(subparsers)
    return made


def _run(arguments: Sequence[str] | None) -> int:
    words = sys.argv[1:] if arguments is None else list(arguments)
    made = parser()
    complete(made)
    try:
        options = made.parse_args(words)
    except BrokenPipeError:  # later Pythons' argparse takes no notice itself
        if not _reader_is_gone():
            raise
        raise SystemExit(0) from None
    with console(options, words):
        code = _run_command(options)
        say_end(code)
    return code


def _run_command(options: argparse.Namespace) -> int:
    try:
        COMMANDS[options.command].run(options)
    except KeyboardInterrupt as stopped:
        say_error(str(stopped) or "stopped; start the same command again to go on", kind="")
        return _STOPPED
    except BrokenPipeError:
        raise
    except Exception as error:
        ours = user_error(error)
        if ours is None:
            raise
        say_error(str(ours))
        return _FAILED
    return 0


def _write_nowhere() -> None:
    """So that what is still to be written does not raise again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reader_is_gone() -> bool:
    """Whether the program that read our output has ended; other pipes may break, too."""
    try:
        sys.stdout.flush()
        if not hasattr(select, "poll"):
            return False
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except BrokenPipeError:
        return True
    except (OSError, ValueError):  # no file
        return False


if __name__ == "__main__":
    sys.exit(main())
