"""Gridgate: 3D segmentation of CT by MONAI bundles.

The package has five rooms, `gridgate.data`, `gridgate.transforms`, `gridgate.networks`,
`gridgate.pipeline` and `gridgate.bundles`. In a checkout they lie at its root; the links in this
folder are for editors, type checkers and `python -m gridgate` without an installation. `setup.cfg`
says the same to pip.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline.segmenter import Segmentation, Segmenter, segment

try:
    __version__ = version("gridgate")
except PackageNotFoundError:  # a checkout on the path that is not installed
    __version__ = "0+unknown"

__all__ = ["Segmentation", "Segmenter", "__version__", "segment"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is asked for: PyTorch takes seconds."""
    if name in ("Segmentation", "Segmenter", "segment"):
        from .pipeline import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
