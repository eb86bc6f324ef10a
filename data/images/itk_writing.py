"""Label maps as NRRD, 3D Slicer's segmentations and MetaImage: headers in text, voxels deflated."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..label_tables.slicer import Extent, segment_fields
from ..label_tables.table import LabelTable
from .compression import deflating, zlib_deflated

_LPS = np.array([-1.0, -1.0, 1.0])
_ELEMENT_TYPES = {1: "MET_UCHAR", 2: "MET_USHORT", 4: "MET_UINT", 8: "MET_ULONG_LONG"}
_EMPTY: Extent = (0, -1, 0, -1, 0, -1)
_PIECE = 1 << 24  # bytes


def write_nrrd(
    stream: BinaryIO,
    array: NDArray[np.unsignedinteger],
    affine: NDArray[np.float64],
    fields: Mapping[str, str] | None = None,
) -> None:
    """Write a NRRD file with gzip inside, in the space left-posterior-superior.

    Args:
        array: (X, Y, Z), unsigned integers.
        affine: (4, 4) to RAS+ mm; any that has an inverse.
        fields: key -> value of what else is in the header.
    """
    columns = (_LPS[:, None] * affine[:3, :3]).T
    lines = [
        "NRRD0005",
        f"type: uint{8 * array.dtype.itemsize}",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {' '.join(map(_vector, columns))}",
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(_LPS * affine[:3, 3])}",
        *(f"{key}:={_escaped(value)}" for key, value in (fields or {}).items()),
    ]
    stream.write(("\n".join(lines) + "\n\n").encode(errors="replace"))
    with deflating(stream) as compressed:
        for piece in _pieces(array):
            compressed.write(piece)


def write_segmentation(
    stream: BinaryIO,
    array: NDArray[np.unsignedinteger],
    affine: NDArray[np.float64],
    table: LabelTable,
) -> None:
    """Write a .seg.nrrd file: each foreground label is a segment, also where it has no voxel.

    Args:
        array, affine: see `write_nrrd`.
        table: of all values in the array.
    """
    write_nrrd(stream, array, affine, segment_fields(table, _extents(array, len(table.foreground))))


def write_metaimage(
    stream: BinaryIO, array: NDArray[np.unsignedinteger], affine: NDArray[np.float64]
) -> None:
    """Write a MetaImage file (.mha), compressed.

    Args:
        array, affine: see `write_nrrd`.
    """
    columns = (_LPS[:, None] * affine[:3, :3]).T
    spacing = np.linalg.norm(columns, axis=1)
    content = zlib_deflated(_pieces(array))
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = True",
        f"CompressedDataSize = {len(content)}",
        f"TransformMatrix = {_numbers(columns / spacing[:, None])}",
        f"Offset = {_numbers(_LPS * affine[:3, 3])}",
        "CenterOfRotation = 0 0 0",
        f"ElementSpacing = {_numbers(spacing)}",
        f"DimSize = {' '.join(map(str, array.shape))}",
        f"ElementType = {_ELEMENT_TYPES[array.dtype.itemsize]}",
        "ElementDataFile = LOCAL",
    ]
    stream.write(("\n".join(lines) + "\n").encode())
    stream.write(content)


def _pieces(array: NDArray[np.unsignedinteger]) -> Iterator[bytes]:
    """The voxels, first axis fastest, little-endian, some slices at a time."""
    little = array.dtype.newbyteorder("<")
    slices = max(1, _PIECE // max(1, array[:, :, :1].nbytes))
    for first in range(0, array.shape[2], slices):
        yield array[:, :, first : first + slices].astype(little, copy=False).tobytes(order="F")


def _extents(array: NDArray[np.unsignedinteger], labels: int) -> list[Extent]:
    """The box of each label 1, 2, ...: first and last index along each axis."""
    from scipy import ndimage  # only those who write segmentations wait for it

    turned = array.flags.f_contiguous  # looked through as it lies in memory
    extents: list[Extent] = []
    for box in ndimage.find_objects(array.T if turned else array, max_label=labels):
        if box is None:
            extents.append(_EMPTY)
        else:
            x, y, z = (
                (int(one.start), int(one.stop) - 1) for one in (box[::-1] if turned else box)
            )
            extents.append((*x, *y, *z))
    return extents


def _vector(values: NDArray[np.float64]) -> str:
    return f"({','.join(_number(one) for one in values)})"


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(_number(one) for one in values.ravel())


def _number(value: float) -> str:
    """The shortest text that gives the same number again; 0 for -0."""
    return repr(float(value) + 0.0)


def _escaped(value: str) -> str:
    """A value in one line, as NRRD escapes it."""
    plain = value.replace("\\", "\\\\").replace("\n", "\\n")
    return plain.replace("\r", " ")
