"""Whether a GIPL or VTK file is as long as its header says; SimpleITK fills up with zeros."""

import re
from pathlib import Path

from ...errors import ImageError
from ..compression import opened, read_to_end

_GIPL_HEADER = 256
_LONGEST = 1 << 18  # bytes of a header that are looked at
_VTK_VALUES = re.compile(
    rb"\n(SCALARS|VECTORS|NORMALS|COLOR_SCALARS)\s[^\n]*\n(LOOKUP_TABLE\s[^\n]*\n)?", re.IGNORECASE
)
_VTK_ASCII = re.compile(rb"\A[^\n]*\n[^\n]*\n\s*ASCII", re.IGNORECASE)


def check_whole(path: Path, numbers: int, size: int) -> None:
    """Refuse a .gipl or .vtk file with fewer numbers than its header says; others pass.

    Args:
        path: of an image that SimpleITK has read.
        numbers: that the image holds, voxels times components.
        size: bytes of one of them.

    Raises:
        ImageError: a VTK file without a line that says where its numbers begin.
        OSError, EOFError, zlib.error: it is cut off or damaged.
    """
    name = path.name.lower()
    if not name.endswith((".gipl", ".gipl.gz", ".vtk")):
        return
    with opened(path) as stream:
        if not name.endswith(".vtk"):
            found = read_to_end(stream) - _GIPL_HEADER
        else:
            start = stream.read(_LONGEST)
            values = _VTK_VALUES.search(start)
            if values is None:
                raise ImageError("it has no SCALARS, so no voxels; convert it to NIfTI")
            stream.seek(values.end())
            if _VTK_ASCII.match(start):
                size, found = 1, len(stream.read().split())
            else:
                found = read_to_end(stream)
    if found < numbers * size:
        raise OSError(f"Expected {numbers * size} bytes or numbers, got {max(found, 0)}")
