"""Converted networks, kept in the user's cache folder: the next run reads what this one made."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import torch

from ....data.datasets.cache.folder import user_cache
from ....data.errors import OutputError
from .network_key import network_key
from .window_network import WindowKind, WindowNetwork, refuse_other_scores

_MOST = 16  # are kept; the one that was not used for longest goes first


def engines_folder() -> Path | None:
    """Where engines keep files: `engines` in Gridgate's cache; None where the user has no home."""
    try:
        return user_cache() / "engines"
    except OutputError:
        return None


class ConvertedNetwork(WindowNetwork):
    """A network's forward pass by another library, from a file in that library's format.

    The network is converted once for the windows' size, compared with PyTorch on a window of noise,
    and kept in the user's cache folder.

    Attributes:
        engine: its name, which is the package's.
        file: name of what is kept; what is written beside it is kept too.

    Raises:
        ConfigError: the library does not know an operation, or has other scores.
    """

    engine: str
    file: str

    def __init__(self, network: torch.nn.Module, kind: WindowKind) -> None:
        super().__init__(network, kind)
        exact = replace(kind, dtype=None)
        with converted_file(
            network,
            kind,
            of=(self.engine, import_module(self.engine).__version__),
            name=self.file,
            convert=lambda file: self.convert(network, kind, file),
            check=lambda file: refuse_other_scores(
                network, self.opened(network, exact, file), engine=self.engine
            ),
        ) as file:
            self._opened = self.opened(network, kind, file)

    def run(self, window: torch.Tensor) -> torch.Tensor:
        """See WindowNetwork.run."""
        return self._opened.run(window)

    @staticmethod
    @abstractmethod
    def convert(network: torch.nn.Module, kind: WindowKind, file: Path) -> None:
        """Write the network as a file.

        Raises:
            ConfigError: an operation that the library does not know.
        """

    @staticmethod
    @abstractmethod
    def opened(network: torch.nn.Module, kind: WindowKind, file: Path) -> WindowNetwork:
        """The file, ready to run in the number format of `kind`."""


@contextmanager
def converted_file(
    network: torch.nn.Module,
    kind: WindowKind,
    *,
    of: Sequence[str],
    name: str,
    convert: Callable[[Path], object],
    check: Callable[[Path], object],
) -> Iterator[Path]:
    """The file of a converted network, from the cache folder or made now, to be read at once.

    Where nothing can be kept it is a temporary one.

    Args:
        of: engine and its version.
        name: of the file; what `convert` writes beside it is kept too.
        convert: writes the file.
        check: raises where the file's network is not the same; such a file is not kept.
    """
    base = engines_folder()
    key = network_key(network, kind.shape, more=of)
    kept = None if base is None else base / "networks" / key
    if kept is not None and _is_there(kept / name):
        yield kept / name
        return
    with tempfile.TemporaryDirectory(prefix=".gridgate-") as work:
        made = Path(work) / name
        convert(made)
        check(made)
        yield made
        if kept is not None:
            _keep(Path(work), kept)


def _is_there(file: Path) -> bool:
    """Whether a kept file can be read; it counts as used now. It may be another user's."""
    try:
        with open(file, "rb"):
            pass
    except OSError:
        return False
    with suppress(OSError):  # a cache that is only read
        os.utime(file.parent)
    return True


def _keep(made: Path, kept: Path) -> None:
    """Copy a folder into the cache, whole or not at all; a disk that is full keeps nothing."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        _make_room(kept.parent)
        with tempfile.TemporaryDirectory(prefix=".", dir=kept.parent) as work:
            copy = Path(work) / "copy"
            shutil.copytree(made, copy, copy_function=shutil.copyfile)
            # as the cache is: a temporary folder is its user's alone
            os.chmod(copy, kept.parent.stat().st_mode & 0o777)
            os.rename(copy, kept)  # fails where another process was faster
    except OSError:
        return


def _make_room(folder: Path) -> None:
    kept = [one for one in folder.iterdir() if not one.name.startswith(".")]
    oldest = sorted(kept, key=lambda path: path.stat().st_mtime)
    for one in oldest[: max(0, len(kept) - _MOST + 1)]:
        shutil.rmtree(one, ignore_errors=True)
