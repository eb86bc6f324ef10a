"""What tests/forked.py has a process of its own do: a command, as `python -m MODULE` does it."""

import atexit
import ctypes
import os
import runpy
import signal
import sys

_VERSION_3 = 0x20080522  # of Linux's capget and capset
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


def run(
    module: str,
    words: list[str],
    cwd: str,
    stdout: str,
    stderr: str,
    environment: dict[str, str],
) -> None:
    os.setsid()
    os.chdir(cwd)
    for number, name in ((1, stdout), (2, stderr)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    _give_up_reading_everything()
    sys.argv = [module, *words]
    sys.path[:] = ["", *(path for path in sys.path if path)]
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
        if isinstance(error, KeyboardInterrupt):  # as Python itself ends then
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGINT)
    atexit._run_exitfuncs()
    sys.exit(code)  # type: ignore[arg-type]


def _give_up_reading_everything() -> None:
    """Root's right to open what it has no permission for."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for index in range(3):
        sets[index] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH) & 0xFFFFFFFF
    # what a program that is started later gets is bounded, too
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "forked":
    run(*ARGUMENTS)  # type: ignore[name-defined]  # noqa: F821  # given by runpy
