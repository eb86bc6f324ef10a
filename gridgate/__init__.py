"""Gridgate: 3D segmentation of CT by MONAI bundles.

The package has five rooms, `gridgate.data`, `gridgate.transforms`, `gridgate.networks`,
`gridgate.pipeline` and `gridgate.bundles`. In a checkout they lie at its root; the links in this
folder are for editors, type checkers and `python -m gridgate` without an installation. `setup.cfg`
says the same to pip.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("gridgate")
except PackageNotFoundError:  # a checkout on the path that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
