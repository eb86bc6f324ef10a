"""report.html of a run: where it may stand, and that it never outlives its tables."""

from __future__ import annotations

import logging

from ....data.errors import ConfigError, OutputError
from ....data.output_folder import OutputFolder
from ...plans.bundle_folders import is_bundle

logger = logging.getLogger(__name__)

PAGE = "report.html"


def refuse_bundles_page(output: OutputFolder) -> None:
    """Refuse to write a run's page into a bundle's folder, where a training's or a fit's stands.

    Raises:
        ConfigError: it is one.
    """
    if is_bundle(output.folder):
        raise ConfigError(
            f"{output.folder}: is a bundle, whose own page stays; give another --output_dir for one"
        )


def remove_page(output: OutputFolder) -> None:
    """Remove a run's page of before, if it is ours: it tells of other tables than those there."""
    if is_bundle(output.folder):
        return
    try:
        output.remove(PAGE)
    except OutputError as error:
        logger.warning(str(error))
