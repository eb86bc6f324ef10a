"""How many CPU cores there are for this process."""

import os


def usable_cores() -> int:
    """Cores that this process may use; macOS and Windows do not say, so all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
