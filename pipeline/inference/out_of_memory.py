"""Whether an error says that memory ran out; asked without importing PyTorch."""

from __future__ import annotations

import re
import sys

# what PyTorch's allocator for the CPU says, in a RuntimeError without a type of its own, and CUDA
# where it cannot even begin
_NO_MEMORY = re.compile(
    r"DefaultCPUAllocator: (can't allocate memory|not enough memory)|CUDA error: out of memory"
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, says that memory ran out.

    On a GPU that is torch.OutOfMemoryError, in NumPy and Python MemoryError; PyTorch on a CPU
    raises a plain RuntimeError, which is told by its text. Other RuntimeErrors are something else.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("out of memory, perhaps"))
    (True, False)
    """
    torch = sys.modules.get("torch")  # nobody who has not imported it has its errors
    kinds = (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)
    while error is not None:
        if isinstance(error, kinds):
            return True
        if isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False
