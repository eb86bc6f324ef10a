"""The phantom's anatomy: one random patient's abdomen in mm, painted as tissues.

Coordinates are the patient's own, in mm: +x to the patient's right, +y anterior, +z superior
(RAS+). The origin lies in the middle of the trunk at about the second lumbar vertebra.
"""

from __future__ import annotations

import numpy as np

from .shapes import Canvas, Ellipsoid, Merged, Solid, Tube, Warp, Waves, rotation, smooth_tube
from .trunk import HALF_DEPTH, Tissue, Trunk


class Anatomy:
    """One patient, drawn from `rng`: every size, place and bend is settled when it is made."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.stretch = (rng.uniform(0.94, 1.06), rng.uniform(0.94, 1.06), rng.uniform(0.95, 1.05))
        self.warp = Warp(
            self.stretch,
            (
                Waves.draw(rng, count=4, wavelength=(130, 320), amplitude=6.0),
                Waves.draw(rng, count=4, wavelength=(130, 320), amplitude=6.0),
                Waves.draw(rng, count=4, wavelength=(130, 320), amplitude=7.0),
            ),
        )
        self._trunk = Trunk(rng, depth=HALF_DEPTH * self.stretch[1])
        self._capsule = float(rng.uniform(3, 7))
        self._aorta_radius = float(rng.uniform(9.3, 11.8))
        aorta = (rng.uniform(-13, -8), -24.0 + self._aorta_radius + 1.0)
        self._aorta = self._vessel(aorta, (-19.0, aorta[1] - 6), self._aorta_radius, end=-122)
        vein_radius = rng.uniform(9, 12)
        self._vein = self._vessel((rng.uniform(15, 20), -13), (24, 2), vein_radius, end=-128)
        self._iliacs = [
            self._tube(
                [[-9, -12, -122], [side * 34, -16, -172], [side * 52, 8, -230]],
                [7, 6, 5.5],
                still=True,
            )
            for side in (-1, 1)
        ]
        self._draw_organs()
        self._draw_gut()

    def paint(self, canvas: Canvas) -> None:
        """Paint the whole patient, and the table beneath, on a canvas that is still all air."""
        self._trunk.paint(canvas)
        ground = Tissue.INNER_FAT
        # Order is precedence: what is painted first keeps its voxels.
        canvas.paint(self._aorta, Tissue.AORTA, over=ground)
        for iliac in self._iliacs:
            canvas.paint(iliac, Tissue.ILIAC, over=ground)
        canvas.paint(self._vein, Tissue.VEIN, over=ground)
        for kidney, sinus, organ, inner in self._kidneys:
            canvas.paint_layers(
                kidney, ((-self._capsule, Tissue.CAPSULE_FAT), (0.0, organ)), over=ground
            )
            canvas.paint(sinus, inner, over=organ)
        canvas.paint_layers(
            self._pancreas, ((-2.5, Tissue.CAPSULE_FAT), (0.0, Tissue.PANCREAS)), over=ground
        )
        canvas.paint(self._spleen, Tissue.SPLEEN, over=ground)
        canvas.paint(self._gallbladder, Tissue.GALLBLADDER, over=ground)
        canvas.paint(self._liver, Tissue.LIVER, over=ground)
        for vessel in self._liver_vessels:
            canvas.paint(vessel, Tissue.LIVER_VESSEL, over=Tissue.LIVER)
        for vessel, blood in self._mesentery:
            canvas.paint(vessel, blood, over=ground)
        for loop, wall, content, gas in self._gut:
            canvas.paint_layers(
                loop, ((0.0, Tissue.GUT_WALL), (wall, content)), over=ground, gas=gas
            )

    def _tube(self, points: list[list[float]], radii: list[float], *, still: bool = False) -> Tube:
        """A tube whose points wander by some mm and radii by some percent, unless it is `still`."""
        path, thickness = np.array(points, float), np.array(radii, float)
        if not still:
            path = path + self._rng.normal(scale=2.5, size=path.shape).clip(-5, 5)
            thickness = thickness * self._rng.uniform(0.93, 1.09, size=thickness.shape)
        return smooth_tube(path, thickness)

    def _vessel(
        self, low: tuple[float, float], high: tuple[float, float], radius: float, *, end: float
    ) -> Tube:
        """A vessel along the spine, from its fork at z = `end` up past the diaphragm."""
        points = [[*low, end], [*low, -40.0], [*low, 10.0], [*high, 90.0], [*high, 400.0]]
        radii = [radius * 0.93, radius * 0.95, radius, radius * 1.06, radius * 1.08]
        return Tube(np.array(points), np.array(radii))

    def _ellipsoid(
        self,
        centre: list[float],
        radii: list[float],
        *,
        turn: tuple[float, float, float] = (0, 0, 0),
    ) -> Ellipsoid:
        """An ellipsoid near `centre`, of about `radii` mm, turned by about `turn` degrees."""
        rng = self._rng
        angles = np.radians(np.array(turn) + rng.uniform(-7, 7, size=3))
        place = np.array(centre, float) + rng.uniform(-4, 4, size=3)
        return Ellipsoid(place, np.array(radii) * rng.uniform(0.93, 1.07, size=3), rotation(angles))

    def _draw_organs(self) -> None:
        rng, tube, ellipsoid = self._rng, self._tube, self._ellipsoid

        def rough(amplitude: float) -> Waves:
            return Waves.draw(rng, count=5, wavelength=(28, 70), amplitude=amplitude)

        size = rng.uniform(0.99, 1.13)
        self._liver = Merged(
            (
                ellipsoid([66, -2, 34], [62 * size, 72 * size, 66 * size]),
                ellipsoid([82, 8, -18], [30 * size, 44 * size, 50 * size]),
                ellipsoid([2, 38, 56], [64 * size, 32 * size, 27 * size], turn=(0, 14, -14)),
            ),
            softness=22,
            # The hilum and the fissure: where the under side is drawn in, between the two lobes.
            without=(ellipsoid([18, 22, 0], [34, 30, 30], turn=(0, 30, 0)),),
            roughness=rough(3.0),
        )
        self._liver_vessels = [
            tube([[24, 2, 22], [46, 2, 34], [72, -8, 42], [94, -22, 44]], [6, 5.5, 4, 2.5]),
            tube([[46, 2, 34], [64, 30, 24], [80, 42, 12]], [4.5, 3.5, 2.5]),
            tube([[24, -2, 74], [50, -16, 62], [80, -30, 52]], [5.5, 4.5, 2.5]),
            tube([[24, -2, 74], [44, 22, 62], [62, 44, 44]], [5.5, 4, 2.5]),
            tube([[24, 2, 72], [6, 30, 62], [-16, 42, 56]], [5, 4, 2.5]),
        ]
        self._gallbladder = self._tube([[38, 22, 6], [46, 40, -8], [52, 50, -22]], [6, 11, 13])
        size = rng.uniform(0.92, 1.18)
        self._spleen = Merged(
            (ellipsoid([-86, -34, 42], [31 * size, 44 * size, 50 * size], turn=(-12, 14, 20)),),
            without=(ellipsoid([-44, -4, 38], [34, 34, 50]),),
            roughness=rough(2.5),
        )
        self._kidneys = [
            (*self._kidney(1, rng.uniform(-26, -12)), Tissue.RIGHT_KIDNEY, Tissue.RIGHT_SINUS),
            (*self._kidney(-1, rng.uniform(-14, 0)), Tissue.LEFT_KIDNEY, Tissue.LEFT_SINUS),
        ]
        front = self._aorta.points[1][1] + self._aorta_radius
        self._pancreas = Merged(
            (
                tube(
                    [
                        [-74, -20, 34],
                        [-52, -6, 28],
                        [-28, front + 15, 20],
                        [-2, front + 19, 12],
                        [20, front + 15, 2],
                        [32, front + 7, -14],
                        [30, front + 4, -30],
                    ],
                    [10.5, 11, 10.5, 9.5, 11, 14.5, 11.5],
                ),
            ),
            roughness=rough(1.8),
        )
        self._draw_mesentery(front)

    def _kidney(self, side: int, height: float) -> tuple[Solid, Solid]:
        """A bean: a bent tube, upper pole medial, hollowed at the hilum; and the sinus within."""
        rng = self._rng
        x, y = side * rng.uniform(60, 67), rng.uniform(-46, -40)
        size, half = rng.uniform(0.92, 1.1), rng.uniform(24, 30)
        path = [
            [x - side * 11, y - 5, height + half],
            [x, y - 1, height + half * 0.35],
            [x + side * 2, y + 1, height - half * 0.35],
            [x - side * 2, y + 6, height - half],
        ]
        radii = [22.5 * size, 25.5 * size, 25.5 * size, 22.5 * size]
        hilum = np.array([x - side * 25 * size, y + 10 * size, height])
        notch = Ellipsoid(
            hilum, np.array([14.0, 8.5, 15.0]) * size, rotation(np.radians([0, 0, -25.0 * side]))
        )
        sinus = Ellipsoid(
            np.array([x - side * 7, y + 4, height]),
            np.array([12.0, 8.5, 20.0]) * size,
            rotation(np.zeros(3)),
        )
        rough = Waves.draw(rng, count=5, wavelength=(28, 60), amplitude=1.8)
        return Merged(
            (self._tube(path, radii, still=True),), without=(notch,), roughness=rough
        ), sinus

    def _draw_mesentery(self, front: float) -> None:
        """The vessels in the fat between the loops of gut; `front` is the aorta's y."""
        rng = self._rng
        vein = self._tube(
            [[16, front + 8, 2], [12, front + 18, -34], [6, front + 24, -74], [4, 30, -120]],
            [5.5, 5, 4, 3],
        )
        artery = self._tube(
            [[-8, front + 7, -8], [-6, front + 18, -38], [-6, front + 24, -110]], [3.6, 3.4, 2.6]
        )
        self._mesentery = [(vein, Tissue.VEIN), (artery, Tissue.ILIAC)]
        for _ in range(12):
            start = vein.points[rng.integers(3, len(vein.points))]
            bend = start + rng.uniform([-30, 5, -25], [30, 20, 5])
            end = bend + rng.uniform([-40, -5, -30], [40, 20, 10])
            self._mesentery.append(
                (smooth_tube(np.array([start, bend, end]), np.array([2.6, 2.2, 1.8])), Tissue.VEIN)
            )

    def _draw_gut(self) -> None:
        rng, tube = self._rng, self._tube
        full = rng.uniform(0.85, 1.15)
        stomach = tube(
            [[-52, -8, 74], [-62, 8, 56], [-62, 30, 30], [-38, 46, 8], [-6, 44, -4], [22, 34, 0]],
            [24 * full, 29 * full, 27 * full, 20 * full, 14, 11],
        )
        content, gas = Tissue.GUT_CONTENT, int(Tissue.GUT_GAS)
        self._gut: list[tuple[Solid, float, int, int | None]] = [
            (stomach, 3.5, content, gas),
            (
                tube(
                    [[26, 32, 0], [46, 14, -8], [48, 0, -40], [24, 8, -56], [-16, 8, -52]],
                    [11.0] * 5,
                ),
                2.5,
                content,
                None,
            ),
        ]
        paths: tuple[list[list[float]], ...] = (
            [[92, 0, -240], [94, -4, -150], [96, -6, -100], [90, 8, -62]],
            [
                [90, 8, -62],
                [70, 44, -60],
                [34, 62, -66],
                [-10, 64, -64],
                [-52, 54, -34],
                [-84, 26, -4],
            ],
            [[-88, 14, -4], [-96, -14, -34], [-98, -22, -80], [-94, -14, -140], [-80, -10, -240]],
        )
        for path in paths:
            colon = tube(path, [rng.uniform(14, 21) for _ in path])
            # Haustra: the colon's pouches.
            pouches = colon.radii * (1 + 0.14 * np.cos(np.arange(len(colon.radii)) * 2.1))
            filling = Tissue.STOOL if rng.random() < 0.7 else Tissue.GUT_CONTENT
            self._gut.append(
                (Tube(colon.points, pouches), 2.5, filling, gas if rng.random() < 0.8 else None)
            )
        for _ in range(18):
            start = np.array([rng.uniform(-66, 66), rng.uniform(8, 52), rng.uniform(-150, -42)])
            walk = [start]
            heading = rng.normal(size=3)
            for _ in range(5):
                heading = 0.6 * heading + rng.normal(size=3) * (1, 0.7, 0.7)
                walk.append(walk[-1] + heading / np.linalg.norm(heading) * 24)
            loop = smooth_tube(np.array(walk), rng.uniform(9, 13, size=len(walk)))
            self._gut.append((loop, 2.5, content, gas if rng.random() < 0.25 else None))
