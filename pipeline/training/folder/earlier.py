"""What an earlier training, or somebody else, left in a bundle that is trained in place."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ....data.errors import OutputError
from ....data.output_folder import OutputFolder

logger = logging.getLogger(__name__)

EARLIER = "before_fine_tuning"
"""The folder in the bundle that keeps them; a second time it is before_fine_tuning_2."""


def keep_earlier(output: OutputFolder, names: Iterable[str], *, weights: str) -> None:
    """Copy results that the new training will replace, and take the others out of its way.

    Args:
        output: the bundle's folder.
        names: paths in it, of which some may not be there.
        weights: the one that stays where it is as well: the training starts from it.

    Raises:
        OutputError: a file cannot be copied or moved.
    """
    there = [name for name in names if (output.folder / name).is_file()]
    if not there:
        return
    kept = _free(output.folder)
    try:
        for name in there:
            source, target = output.folder / name, kept / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name == weights:
                shutil.copy2(source, target)
                output.record(name)
            else:
                os.replace(source, target)
    except OSError as error:
        raise OutputError(
            f"{kept}: what an earlier training left cannot be kept here ({error}), so it is not "
            "replaced; make room, or give another --output_dir"
        ) from error
    logger.warning("%s: %s of before this training are kept here", kept, ", ".join(there))


def _free(folder: Path) -> Path:
    candidates = [folder / EARLIER, *(folder / f"{EARLIER}_{n}" for n in range(2, 10_000))]
    return next(path for path in candidates if not os.path.lexists(path))
