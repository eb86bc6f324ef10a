"""What SimpleITK leaves out of the text headers of NRRD and MetaImage: units, and what is missing.

Only what decides on the geometry is looked at, and which other files hold the voxels.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ImageError
from ..compression import opened

_LONGEST = 1 << 18  # bytes of a header that are looked at
_MM_PER_UNIT = {
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 10.0),
    **dict.fromkeys(("dm", "decimeter", "decimetre", "decimeters", "decimetres"), 100.0),
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1e3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e-3),
    **dict.fromkeys(("micrometers", "micrometres"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-6),
    **dict.fromkeys(("in", "inch", "inches"), 25.4),
}
_OF_TIME = {
    **dict.fromkeys(("right-anterior-superior-time", "rast"), (-1, -1)),
    **dict.fromkeys(("left-anterior-superior-time", "last"), (1, -1)),
}
"""Spaces of which ITK takes the numbers for LPS (seen with SimpleITK 2.5.7): signs of x and y."""
_UNKNOWN_UNITS = ("", "none", "???", "unknown", "?")
_NRRD_PATTERN = re.compile(r"(.*%\d*d\S*)\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)(\s+\d+)?$")


@dataclass(frozen=True)
class Correction:
    """How the affine that SimpleITK gives becomes one in mm.

    Args:
        world: (3,) mm per unit of the three axes of the world.
        notes: what was scaled, guessed or is missing.
    """

    world: tuple[float, float, float]
    notes: tuple[str, ...]

    def apply(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """The affine in mm: voxel index to RAS+."""
        return np.diag([*self.world, 1.0]) @ affine


def correction_of(path: Path) -> Correction:
    """What the text header of a file says of its geometry that SimpleITK does not.

    Args:
        path: a file that SimpleITK reads; one of another format than NRRD and MetaImage needs no
            correction, but perhaps a note.

    Raises:
        ImageError: lengths in a unit that is not known, or in units that differ.
        OSError: the file cannot be read.
    """
    name = path.name.lower()
    if name.endswith((".nrrd", ".nhdr")):
        return _nrrd(_fields(path, ":"))
    if name.endswith((".mha", ".mhd")):
        return _metaimage(_fields(path, "="))
    notes = []
    if name.endswith((".gipl", ".gipl.gz", ".vtk")):
        notes.append(
            "geometry: the format stores no orientation, LPS is assumed: check left and right"
        )
    if name.endswith(".vtk") and not _vtk_sizes(path):
        notes.append(
            "geometry: the VTK file gives no voxel sizes (SPACING), 1 mm is assumed: check the "
            "spacing"
        )
    return Correction((1.0, 1.0, 1.0), tuple(notes))


def detached_files(path: Path) -> list[Path]:
    """The files that hold the voxels of a .nhdr, .nrrd or .mhd header, as far as it names them.

    Raises:
        ImageError, OSError: the file cannot be read.
    """
    nrrd = path.name.lower().endswith((".nrrd", ".nhdr"))
    fields = _fields(path, ":" if nrrd else "=")
    said = fields.get("datafile", "") if nrrd else fields.get("elementdatafile", "")
    if said.upper().startswith("LIST"):
        with opened(path) as stream:
            lines = stream.read(_LONGEST).decode("utf-8", errors="replace").splitlines()
        begin = next(n for n, line in enumerate(lines) if said in line)
        names = [line.strip() for line in lines[begin + 1 :] if line.strip()]
    elif pattern := _NRRD_PATTERN.match(said):
        first, last, step = (int(number) for number in pattern.groups()[1:4])
        last += 1 if step > 0 else -1
        names = [pattern[1] % number for number in range(first, last, step or 1)][:100_000]
    else:
        names = [said] if said and said.upper() != "LOCAL" else []
    return [Path(os.path.normpath(path.parent / name)) for name in names]


def _fields(path: Path, separator: str) -> Mapping[str, str]:
    """The fields of a text header by their names, without spaces and in lower case."""
    with opened(path) as stream:
        text = stream.read(_LONGEST).decode("utf-8", errors="replace")
    fields: dict[str, str] = {}
    for number, line in enumerate(text.splitlines()):
        if not line.strip() and separator == ":" and number:
            break  # behind an empty line come NRRD's voxels
        name, found, value = line.partition(separator)
        if not found or line.startswith("#") or value.startswith("="):
            continue
        key = name.replace(" ", "").lower()
        fields.setdefault(key, value.strip())
        if key == "elementdatafile":
            break
    return fields


def _vtk_sizes(path: Path) -> bool:
    with opened(path) as stream:
        return re.search(rb"\n(SPACING|ASPECT_RATIO)\s", stream.read(_LONGEST), re.I) is not None


def _nrrd(fields: Mapping[str, str]) -> Correction:
    notes: list[str] = []
    directions = "spacedirections" in fields
    if directions:
        units = _units(fields.get("spaceunits", ""), 3)
    else:
        units = _units(fields.get("units", ""), int(fields.get("dimension", "3") or 3))
    factors = _factors(units)
    if not directions:
        sizes = fields.get("spacings", "").lower().split()
        known = [size for size in sizes if size not in ("nan", "none")]
        notes += _odd_sizes(" ".join(known), "spacings")
        if len(known) >= 3:
            notes.append(
                "geometry: the NRRD file gives voxel sizes but no directions, the axes of LPS are "
                "assumed: check left and right"
            )
        else:
            notes.append(
                "geometry: the NRRD file gives no voxel sizes and no directions, 1 mm and the axes "
                "of LPS are assumed: check the spacing, left and right"
            )
    notes += _told(factors)
    x, y, z = factors
    turned = _OF_TIME.get(fields.get("space", "").lower(), (1, 1))
    return Correction((x * turned[0], y * turned[1], z), tuple(notes))


def _metaimage(fields: Mapping[str, str]) -> Correction:
    notes: list[str] = []
    spacing, size = fields.get("elementspacing"), fields.get("elementsize")
    if spacing is None and size is None:
        notes.append(
            "geometry: the MetaImage gives no voxel sizes (ElementSpacing), 1 mm is assumed: check "
            "the spacing"
        )
    elif spacing is None:
        notes.append(
            "geometry: the MetaImage gives no ElementSpacing, its ElementSize is used as spacing"
        )
    elif size is not None and _differ(spacing, size):
        notes.append(
            f"geometry: ElementSpacing ({spacing}) and ElementSize ({size}) of the MetaImage "
            "differ, ElementSpacing is used"
        )
    notes += _odd_sizes(spacing or size or "", "ElementSpacing")
    anatomy = fields.get("anatomicalorientation", "").upper()
    turned = any(key in fields for key in ("transformmatrix", "rotation", "orientation"))
    # MetaImage names where the axes come from: RAI is what others call LPS.
    if not turned and anatomy not in ("", "???", "RAI"):
        notes.append(
            "geometry: the MetaImage gives no TransformMatrix, and its AnatomicalOrientation "
            f"{anatomy} is not used, the axes of LPS are assumed: check left and right"
        )
    factors = _factors([fields.get("distanceunits", "")] * 3)
    return Correction(factors, (*notes, *_told(factors)))


def _odd_sizes(text: str, field: str) -> list[str]:
    """A note of negative voxel sizes; ImageError for some that are none."""
    try:
        sizes = [float(number) for number in text.split()[:3]]
    except ValueError:
        sizes = [0.0]
    if not all(np.isfinite(sizes)) or 0.0 in sizes:
        raise ImageError(f"its {field} ({text}) gives no voxel size; mend the header")
    if any(size < 0 for size in sizes):
        return [f"geometry: {field} ({text}) is negative, such an axis is taken as flipped"]
    return []


def _units(text: str, axes: int) -> list[str]:
    """The units of the three axes of space from a line such as "mm" "mm" "mm"; "" where none is."""
    quoted = re.findall(r'"([^"]*)"', text) or text.split()
    if len(quoted) > 3:  # one of the axes is none of space, and mostly has no unit
        given = [unit for unit in quoted if unit.strip().lower() not in _UNKNOWN_UNITS]
        quoted = given if len(given) == 3 else quoted[-3:] if axes > 3 else quoted[:3]
    return (quoted + [""] * 3)[:3]


def _factors(units: list[str]) -> tuple[float, float, float]:
    factors = []
    for unit in units:
        plain = unit.strip().lower()
        if plain not in _MM_PER_UNIT and plain not in _UNKNOWN_UNITS:
            raise ImageError(
                f"its lengths are in a unit that is not known, {unit!r}; convert it to mm"
            )
        factors.append(_MM_PER_UNIT.get(plain, 1.0))
    return factors[0], factors[1], factors[2]


def _told(factors: tuple[float, float, float]) -> list[str]:
    if factors == (1.0, 1.0, 1.0):
        return []
    numbers = ", ".join(f"{factor:g}" for factor in dict.fromkeys(factors))
    return [f"the header's lengths are not in mm; they were multiplied by {numbers} to mm"]


def _differ(one: str, other: str) -> bool:
    try:
        return not np.allclose(
            [float(number) for number in one.split()], [float(number) for number in other.split()]
        )
    except ValueError:
        return True
