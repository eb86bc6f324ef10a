"""JSON twins of a bundle's YAML configs, for the tools of MONAI that look for JSON.

`monai.bundle.load` reads JSON alone; MONAI Label and MONAI Deploy take the JSON file where both are
there. People read and change the YAML file, which has comments. So a twin is made from the YAML,
with the same content, and where the two say different things, tools that read the twin get an error
when they make the network; a run of the YAML goes on, with a warning. To write them anew:

    python -m gridgate.pipeline.config.twins BUNDLE
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from ...data.errors import ConfigError
from ...data.files import write_atomically

logger = logging.getLogger(__name__)

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEP = "::"
_NETWORK, _ROOT = "network_def", "bundle_root"


def twin_text(text: str) -> str:
    """The JSON file of a YAML config's text: the same ids and values, without the comments.

    Its network asks for the check (`bundle_root` of build_network), which the YAML's does not.
    """
    content = yaml.load(text, Loader=_LOADER)
    network = content.get(_NETWORK)
    if isinstance(network, dict):
        network[_ROOT] = f"@{_ROOT}"
    return json.dumps(content, indent=4, ensure_ascii=False) + "\n"


def twin_of(path: Path) -> Path:
    """The path of a YAML config's twin."""
    return path.with_suffix(".json")


def is_twin(path: Path) -> bool:
    """Whether a config is the JSON twin of a YAML file beside it."""
    return path.suffix == ".json" and path.with_suffix(".yaml").is_file()


def check_run(config: dict[str, Any], bundle_root: str | Path) -> None:
    """Check the twins at a run's start: of a run of the YAML a difference is a warning.

    Args:
        config: what runs; where it came from a twin its network's `bundle_root` is taken out, so
            that the run is identified as one of the YAML.

    Raises:
        ConfigError: the twin is run, and says something else than the YAML.
    """
    network = config.get(_NETWORK)
    if isinstance(network, dict) and _ROOT in network:
        check_twins(bundle_root)
        del network[_ROOT]
        return
    try:
        check_twins(bundle_root)
    except ConfigError as error:
        logger.warning(str(error))


def check_twins(bundle_root: str | Path) -> None:
    """Refuse a bundle whose JSON and YAML configs say different things; no twins are fine.

    Args:
        bundle_root: the bundle's folder. Where it has no configs, the one that is looked at is the
            bundle on `sys.path`, where MONAI's tools put the folder of the bundle that they read.

    Raises:
        ConfigError: names both files, the first id that differs, its two values, and what to do.
    """
    folder = _configs(bundle_root)
    if folder is None:
        return
    for path in sorted(folder.glob("*.yaml")):
        twin = twin_of(path)
        if twin.is_file():
            stamps = [(one.stat().st_mtime_ns, one.stat().st_size) for one in (path, twin)]
            _check(path, twin, *stamps)


def write_twins(bundle: str | Path) -> list[Path]:
    """Write the JSON twin of each YAML config of a bundle anew; their paths.

    Raises:
        ConfigError: the folder has no configs.
        OutputError: a file cannot be written.
    """
    found = sorted((Path(bundle) / "configs").glob("*.yaml"))
    if not found:
        raise ConfigError(f"{bundle}: no bundle, as there is no configs/*.yaml in it")
    for path in found:
        text = twin_text(path.read_text(encoding="utf-8"))
        write_atomically(twin_of(path), partial(_write, text))
    return [twin_of(path) for path in found]


def _write(text: str, stream: BinaryIO) -> None:
    stream.write(text.encode())


def _configs(bundle_root: str | Path) -> Path | None:
    for root in (bundle_root, *sys.path):
        folder = Path(root) / "configs"
        if (folder / "metadata.json").is_file():
            return folder
    return None


@lru_cache(maxsize=64)  # the files are compared once, however many components ask
def _check(path: Path, twin: Path, *stamps: tuple[int, int]) -> None:
    content = json.loads(twin_text(path.read_text(encoding="utf-8")))
    try:
        other = json.loads(twin.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{twin}: cannot be read ({error}). {_cure(path, twin)}") from error
    for id_, here, there in _differences(content, other):
        raise ConfigError(
            f"{twin}: {id_} is {there} here and {here} in {path.name} beside it, and tools such as "
            f"MONAI Label read this file. {_cure(path, twin)}"
        )


def _cure(path: Path, twin: Path) -> str:
    return (
        f"Write it anew from {path.name}: python -m gridgate.pipeline.config.twins "
        f"{path.parent.parent}; or remove {twin.name}"
    )


def _differences(here: Any, there: Any, id_: str = "") -> Iterator[tuple[str, str, str]]:
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for key in (*here, *(key for key in there if key not in here)):
            inside = f"{id_}{_SEP}{key}" if id_ else str(key)
            if key not in here or key not in there:
                yield inside, _shown(here, key), _shown(there, key)
            else:
                yield from _differences(here[key], there[key], inside)
    elif here != there or type(here) is not type(there):
        yield id_, json.dumps(here), json.dumps(there)


def _shown(config: Mapping[str, Any], key: str) -> str:
    return json.dumps(config[key]) if key in config else "not set"


if __name__ == "__main__":
    for written in write_twins(sys.argv[1] if len(sys.argv) > 1 else "."):
        print(written)
