"""The phantom's trunk: table, skin, fat, muscle, ribs, spine, lungs and heart."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from .shapes import Canvas

# Half the trunk's width and depth before a patient's stretch, mm.
HALF_WIDTH, HALF_DEPTH = 140.0, 102.0


class Tissue(IntEnum):
    """What a voxel is made of. Organs are painted on INNER_FAT only, so the first stays."""

    AIR = 0
    TABLE_FOAM = 1
    TABLE_SHELL = 2
    SKIN = 3
    OUTER_FAT = 4
    MUSCLE = 5
    INNER_FAT = 6
    BONE_CORTEX = 7
    BONE_MARROW = 8
    DISC = 9
    CANAL = 10
    CARTILAGE = 11
    LUNG = 12
    LUNG_VESSEL = 13
    HEART = 14
    LIVER = 15
    LIVER_VESSEL = 16
    GALLBLADDER = 17
    SPLEEN = 18
    RIGHT_KIDNEY = 19
    RIGHT_SINUS = 20
    LEFT_KIDNEY = 21
    LEFT_SINUS = 22
    PANCREAS = 23
    AORTA = 24
    VEIN = 25
    ILIAC = 26
    GUT_WALL = 27
    GUT_CONTENT = 28
    STOOL = 29
    GUT_GAS = 30
    CAPSULE_FAT = 31


class Trunk:
    """One patient's trunk, drawn from `rng`; `depth` is half its depth in mm, stretched.

    It has no end along z. Its parts are no closed solids but come from formulas on all voxels of a
    canvas.
    """

    def __init__(self, rng: np.random.Generator, *, depth: float) -> None:
        self._depth = depth
        self._fat = float(rng.uniform(8, 22))
        self._wall = float(rng.uniform(8, 11))
        self._phase = float(rng.uniform(0, 36))
        self._domes = [
            (float(rng.uniform(54, 62)), float(rng.uniform(84, 102))),
            (float(rng.uniform(-60, -52)), float(rng.uniform(76, 96))),
        ]

    def paint(self, canvas: Canvas) -> None:
        """Paint all but the organs on a canvas of air, with INNER_FAT where organs may be."""
        self._paint_table(canvas)
        self._paint_wall(canvas)
        self._paint_spine(canvas)

    def _paint_table(self, canvas: Canvas) -> None:
        """A curved table top, which the patient's deformation does not bend."""
        x, y = canvas.true_x, canvas.true_y
        below = (-self._depth - 7.0) + np.square(x) / 900.0 - y
        top = (np.abs(x) < 195) & (below > 0) & (below < 22)
        canvas.tissue[top] = Tissue.TABLE_FOAM
        canvas.tissue[top & ((below < 4.5) | (below > 17.5))] = Tissue.TABLE_SHELL

    def _paint_wall(self, canvas: Canvas) -> None:
        """Skin, fat, muscle, ribs, and above the diaphragm lungs and heart; else INNER_FAT."""
        x, y, z, tissue = canvas.x, canvas.y, canvas.z, canvas.tissue
        ratio = np.power(
            np.power(np.abs(x) / HALF_WIDTH, 2.4) + np.power(np.abs(y) / HALF_DEPTH, 2.4), 1 / 2.4
        )
        depth = np.hypot(x, y) * (1 / np.maximum(ratio, 1e-3) - 1)
        # Fat is thicker in front and at the flanks below the ribs than at the back.
        fat = self._fat * (
            1 + 0.35 * np.clip(y / HALF_DEPTH, -1, 1) - 0.25 * np.clip(z / 100, -0.6, 1)
        )
        within = depth - fat
        tissue[depth > 0] = Tissue.SKIN
        tissue[depth > 2.2] = Tissue.OUTER_FAT
        tissue[(depth > 2.2) & (within > 0)] = Tissue.MUSCLE
        inner = within > self._wall
        tissue[inner] = Tissue.INNER_FAT
        dome = np.maximum(
            *(
                top - 40 * (np.square((x - at) / 72) + np.square((y - 6) / 78))
                for at, top in self._domes
            )
        )
        above = inner & (z > dome - 3.0)
        tissue[above] = Tissue.MUSCLE
        above &= z > dome
        tissue[above] = Tissue.LUNG
        # Bronchi and vessels of the lung, as the crests of a wave pattern.
        crests = (
            np.sin(x * 0.21 + np.sin(z * 0.13))
            * np.sin(y * 0.23 + np.sin(x * 0.11))
            * np.sin(z * 0.17 + 1)
        )
        tissue[above & (crests > 0.8)] = Tissue.LUNG_VESSEL
        tissue[
            above
            & (np.square((x + 16) / 52) + np.square((y - 36) / 44) + np.square((z - 132) / 52) < 1)
        ] = Tissue.HEART
        # What surrounds aorta and vein behind the heart, and the gap that they leave the diaphragm
        # through.
        tissue[
            inner & (z > dome - 3.0) & (np.abs(x) < 32) & (y < -2) & (tissue != Tissue.HEART)
        ] = Tissue.INNER_FAT
        # Ribs run forwards and downwards inside the wall; in front, below the breastbone, there are
        # none.
        level = z + 0.45 * y + self._phase
        along = np.abs(np.mod(level, 27.0) - 13.5)
        cage = np.square((within - self._wall * 0.55) / 4.2) + np.square(along / 5.6)
        ribs = (
            (cage < 1)
            & (level > -28 + 0.5 * np.maximum(y, 0))
            & ((np.abs(x) > 45) | (y < 0))
            & (np.abs(x) > 20)
        )
        ribs &= (z + 0.9 * (np.abs(x) - 75) > 12) | (y < 20)
        tissue[ribs] = Tissue.BONE_CORTEX
        tissue[ribs & (cage < 0.35)] = Tissue.BONE_MARROW
        tissue[ribs & (y > 42)] = Tissue.CARTILAGE

    def _paint_spine(self, canvas: Canvas) -> None:
        """Vertebrae 36 mm apart with discs, arches and processes; the muscles beside them."""
        window = canvas.window((np.array([-80.0, -110.0, -1e4]), np.array([80.0, 12.0, 1e4])))
        if window is None:
            return
        x, y, z, tissue = (
            canvas.x[window],
            canvas.y[window],
            canvas.z[window],
            canvas.tissue[window],
        )
        side = np.abs(x)
        inside = tissue >= Tissue.MUSCLE
        level = np.mod(z + self._phase, 36.0) - 18.0  # 0 in the middle of a vertebra
        back = np.square((side - 27) / 25) + np.square((y + 72) / 19) < 1
        grown = np.clip((40 - z) / 110, 0, 1)
        psoas = np.square(side - 29 - 8 * grown) + np.square((y + 43) * 0.9) < np.square(
            6 + 13 * grown
        )
        tissue[inside & (back | (psoas & (z < 40)))] = Tissue.MUSCLE
        waist = 1 - 0.10 * (
            1 - np.square(level / 14)
        )  # bodies are narrower in the middle than at their plates
        body = np.square(x / (23.5 * waist)) + np.square((y + 41.5) / (17.5 * waist))
        bone = inside & (body < 1) & (np.abs(level) < 14)
        tissue[inside & (body < 1)] = Tissue.DISC
        tissue[bone] = Tissue.BONE_CORTEX
        tissue[bone & (body < 0.80) & (np.abs(level) < 12)] = Tissue.BONE_MARROW
        canal = np.square(x / 10.5) + np.square((y + 68) / 9)
        arch = (
            (np.square(x / 17) + np.square((y + 69) / 14.5) < 1)
            & (canal >= 1)
            & (y < -56)
            & (np.abs(level + 2) < 13)
        )
        transverse = (
            (side > 8)
            & (side < 39)
            & (np.abs(y + 65 + 0.12 * side) < 4.5)
            & (np.abs(level - 2) < 5.5)
        )
        spinous = (side < 3.8) & (y < -78) & (y > -95) & (np.abs(level + 5) < 9)
        tissue[inside & (arch | transverse | spinous)] = Tissue.BONE_CORTEX
        tissue[inside & (canal < 1) & (body >= 1)] = Tissue.CANAL
