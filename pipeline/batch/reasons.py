"""Why a case failed, in one line, and whether the others would fail as well."""

from __future__ import annotations

import errno

from ...data.errors import OutputError, user_error
from ...transforms.restore.scores_error import ScoresError
from ..inference.out_of_memory import is_out_of_memory

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain of causes; MONAI wraps what its transforms raise."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason(error: BaseException) -> str:
    r"""One line that says why a case failed: our errors' text, or the first cause's type and text.

    >>> reason(ValueError("two\n lines"))
    'unexpected ValueError: two lines'
    """
    ours = user_error(error)
    if ours is not None:
        return " ".join(str(ours).split())
    if is_out_of_memory(error):
        return "out of memory: use a smaller window, --device cpu, or a machine with more memory"
    error = root_cause(error)
    if isinstance(error, ScoresError):
        return f"{error}; try --amp False, or other weights"
    return f"unexpected {type(error).__name__}: " + " ".join(str(error).split())


def is_expected(error: BaseException) -> bool:
    """Whether it is explained by its reason; others are bugs, where the traceback matters."""
    return (
        user_error(error) is not None
        or is_out_of_memory(error)
        or isinstance(root_cause(error), ScoresError)
    )


def hits_all_cases(error: BaseException) -> bool:
    """Whether nothing can be written any more, which is not this case's fault."""
    ours = user_error(error)
    system = ours.__cause__ if isinstance(ours, OutputError) else None
    return isinstance(system, OSError) and system.errno in _NO_ROOM
