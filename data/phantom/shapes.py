"""What the phantom is drawn with: solids, smooth random fields in mm, voxels to paint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

_STEPS = 3  # of a smooth tube, between two points of its path


@dataclass(frozen=True)
class Waves:
    """A smooth random field: a sum of plane waves, which has no control grid and no edge."""

    vectors: list[list[float]]  # radians per mm
    phases: list[float]
    amplitudes: list[float]

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        *,
        count: int,
        wavelength: tuple[float, float],
        amplitude: float,
    ) -> Waves:
        """Draw `count` waves of random direction; wavelength in mm; `amplitude` is the bound."""
        direction = rng.normal(size=(count, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        length = rng.uniform(*wavelength, size=(count, 1))
        share = rng.uniform(0.5, 1.0, size=count)
        return cls(
            vectors=(direction * (2 * np.pi / length)).tolist(),
            phases=rng.uniform(0, 2 * np.pi, size=count).tolist(),
            amplitudes=(share * (amplitude / share.sum())).tolist(),
        )

    def __call__(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The field at coordinates in mm, three float32 arrays of one shape."""
        total = np.zeros(x.shape, np.float32)
        for (kx, ky, kz), phase, amplitude in zip(
            self.vectors, self.phases, self.amplitudes, strict=True
        ):
            total += amplitude * np.sin(kx * x + ky * y + (kz * z + phase))
        return total


class Solid(Protocol):
    """A closed shape: its box (two corners, mm) and the distance to it (below 0 inside)."""

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Two corners, mm."""
        ...

    def field(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """About the distance in mm to the surface, below 0 inside; float32, shaped as x, y, z."""
        ...


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid with semi-axes `radii` (mm) along the columns of `rotation` (3,3)."""

    centre: np.ndarray
    radii: np.ndarray
    rotation: np.ndarray

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Two corners, mm."""
        reach = np.sqrt(((self.rotation * self.radii) ** 2).sum(axis=1))
        return self.centre - reach, self.centre + reach

    def field(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """About the distance in mm to the surface, below 0 inside."""
        cx, cy, cz = self.centre.tolist()
        x, y, z = x - cx, y - cy, z - cz
        total = np.zeros(x.shape, np.float32)
        for (ax, ay, az), radius in zip(self.rotation.T.tolist(), self.radii.tolist(), strict=True):
            total += np.square((ax * x + ay * y + az * z) / radius)
        return (np.sqrt(total) - 1) * float(self.radii.mean())


@dataclass(frozen=True, eq=False)
class Tube:
    """A round-ended tube along `points` (n, 3); its radius is linear in `radii` (n,), mm."""

    points: np.ndarray
    radii: np.ndarray

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Two corners, mm."""
        radii = self.radii[:, None]
        return (self.points - radii).min(axis=0), (self.points + radii).max(axis=0)

    def field(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """About the distance in mm to the surface, below 0 inside."""
        nearest = np.full(x.shape, np.inf, np.float32)
        for i in range(len(self.points) - 1):
            start, step = self.points[i], self.points[i + 1] - self.points[i]
            (sx, sy, sz), (tx, ty, tz) = start.tolist(), step.tolist()
            dx, dy, dz = x - sx, y - sy, z - sz
            along = np.clip((tx * dx + ty * dy + tz * dz) / float(step @ step), 0, 1)
            distance = np.sqrt(
                np.square(dx - tx * along) + np.square(dy - ty * along) + np.square(dz - tz * along)
            )
            first, second = float(self.radii[i]), float(self.radii[i + 1])
            np.minimum(nearest, distance - (first + (second - first) * along), out=nearest)
        return nearest


@dataclass(frozen=True, eq=False)
class Merged:
    """Solids as one, with a fillet `softness` mm wide where they meet, less `without`."""

    parts: tuple[Solid, ...]
    softness: float = 0.0
    without: tuple[Solid, ...] = ()
    roughness: Waves | None = None

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Two corners, mm."""
        boxes = [part.box for part in self.parts]
        # The fillet (softness / 4 a part) and the roughness can carry the surface out of the parts'
        # boxes.
        margin = self.softness / 4 * (len(boxes) - 1)
        margin += sum(self.roughness.amplitudes) if self.roughness else 0.0
        return np.min([b[0] for b in boxes], axis=0) - margin, np.max(
            [b[1] for b in boxes], axis=0
        ) + margin

    def field(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """About the distance in mm to the surface, below 0 inside."""
        total = self.parts[0].field(x, y, z)
        for part in self.parts[1:]:
            other = part.field(x, y, z)
            if self.softness > 0:
                overlap = np.maximum(self.softness - np.abs(total - other), 0) / self.softness
                total = np.minimum(total, other) - np.square(overlap) * (self.softness / 4)
            else:
                total = np.minimum(total, other)
        if self.roughness is not None:
            total = total + self.roughness(x, y, z)
        for part in self.without:
            total = np.maximum(total, -part.field(x, y, z))
        return total


class Canvas:
    """A block of voxels under the brush.

    tissue: (X,Y,Z) uint8, 0 at first; true_x, true_y, true_z: where each voxel centre lies, mm;
    x, y, z: the same in the anatomy's own mm, with the patient's build (`warp`) taken out.
    """

    def __init__(self, shape: tuple[int, int, int], affine: np.ndarray, warp: Warp) -> None:
        self.tissue = np.zeros(shape, np.uint8)
        self._inverse = np.linalg.inv(affine)
        index = np.ogrid[tuple(slice(n) for n in shape)]
        # Sums of 1-D arrays, not a matrix product: the same bits whatever BLAS does, and no (N,3)
        # array.
        self.true_x, self.true_y, self.true_z = (
            sum((affine[row, axis] * index[axis] for axis in range(3)), affine[row, 3]).astype(
                np.float32
            )
            for row in range(3)
        )
        self.x, self.y, self.z = warp.pull(self.true_x, self.true_y, self.true_z)
        self._warp = warp

    def window(self, box: tuple[np.ndarray, np.ndarray]) -> tuple[slice, slice, slice] | None:
        """A block of voxels that holds all of `box` (two corners, mm); None without any."""
        low, high = self._warp.reach(box)
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), -1).reshape(
            -1, 3
        )
        index = corners @ self._inverse[:3, :3].T + self._inverse[:3, 3]
        first = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        last = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, self.tissue.shape)
        if np.any(first >= last):
            return None
        return slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2])

    def paint(self, solid: Solid, tissue: int, *, over: int) -> None:
        """Give the voxels of `solid` that now hold `over` the value `tissue`."""
        self.paint_layers(solid, ((0.0, tissue),), over=over)

    def paint_layers(
        self,
        solid: Solid,
        layers: tuple[tuple[float, int], ...],
        *,
        over: int,
        gas: int | None = None,
    ) -> None:
        """Paint `solid` in shells: `layers` are (depth in mm, tissue), outermost first.

        A negative depth is a shell around the solid. `gas` takes the front of the innermost layer,
        as it rises in a patient on their back.
        """
        low, high = solid.box
        margin = max(0.0, *(-depth for depth, _ in layers))
        window = self.window((low - margin, high + margin))
        if window is None:
            return
        x, y, z, tissue = self.x[window], self.y[window], self.z[window], self.tissue[window]
        field = solid.field(x, y, z)
        free = tissue == over
        inside = free
        for depth, value in layers:
            inside = free & (field < -depth)
            tissue[inside] = value
        if gas is not None:
            tissue[inside & (y > float(low[1] + 0.62 * (high[1] - low[1])))] = gas


@dataclass(frozen=True, eq=False)
class Warp:
    """One patient's build: a stretch along each axis and a smooth deformation."""

    stretch: tuple[float, float, float]
    waves: tuple[Waves, Waves, Waves]

    def pull(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Patient mm -> anatomy mm (three float32 arrays of one shape)."""
        moved = tuple(
            c / s + wave(x, y, z)
            for c, s, wave in zip((x, y, z), self.stretch, self.waves, strict=True)
        )
        return moved[0], moved[1], moved[2]

    def reach(self, box: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """A box (two corners) in patient mm that holds everything `pull` takes into `box`."""
        bound = np.array([sum(wave.amplitudes) for wave in self.waves])
        stretch = np.array(self.stretch)
        return (box[0] - bound) * stretch, (box[1] + bound) * stretch


def smooth_tube(points: np.ndarray, radii: np.ndarray) -> Tube:
    """A tube through a path's points on a Catmull-Rom curve, so that it bends smoothly."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    path, thickness = [], []
    for i in range(1, len(points)):
        a, b, c, d = padded[i - 1 : i + 3]
        for t in np.arange(_STEPS) / _STEPS:
            path.append(
                0.5
                * (
                    2 * b
                    + (c - a) * t
                    + (2 * a - 5 * b + 4 * c - d) * t**2
                    + (3 * b - a - 3 * c + d) * t**3
                )
            )
            thickness.append(radii[i - 1] + (radii[i] - radii[i - 1]) * t)
    return Tube(np.array([*path, points[-1]]), np.array([*thickness, radii[-1]]))


def rotation(angles: np.ndarray) -> np.ndarray:
    """(3,3) rotation about x, then y, then z; radians."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
