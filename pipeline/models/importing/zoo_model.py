"""A bundle of a bundle of MONAI's model zoo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ....data.new_folder import refuse_existing
from .file_model import file_plan
from .network_file import read_network_file
from .written import write_imported
from .zoo.folder import read_zoo_bundle
from .zoo.model import read_zoo_model
from .zoo.network import is_known


def import_zoo(
    source: str | Path, output: str | Path, *, names: Mapping[str, int] | None = None
) -> Path:
    """Write the bundle of a bundle of MONAI's model zoo; it is there complete, or not at all.

    Its config is read, not run. Where its network is none of MONAI's that are known here, its
    TorchScript, models/model.ts, is the network.

    Args:
        source: its folder.
        output: new folder.
        names: label -> value, 1, 2, ...; None: those of its metadata.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder exists; something in the config that is not understood, by its name.
        CheckpointError: weights that cannot be read, or do not fit the network.
        OutputError: it cannot be written.
    """
    refuse_existing(output)
    bundle, name = read_zoo_bundle(source), Path(output).resolve().name
    script = bundle.folder / "models" / "model.ts"
    if script.is_file() and not is_known(bundle):
        file = read_network_file(script)
        return write_imported(file_plan(bundle, file, name, names), file.state, output)
    return write_imported(*read_zoo_model(bundle, name, names), output)
