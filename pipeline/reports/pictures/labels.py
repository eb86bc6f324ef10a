"""How labels are shown: each in its colour, its name as text."""

from __future__ import annotations

COLOURS = (
    *("#e8853d", "#4fb0e8", "#43bd8a", "#b98ae6", "#e6c23c", "#ea5468", "#4fd1d1", "#f28fc0"),
    *("#a6bd5c", "#8c98f5", "#c99568", "#7ce07c", "#d6d6d6", "#e05bd0", "#5f9ea0", "#ffb3a7"),
    *("#9a7b4f", "#b8e0ff"),
)
"""Colours of labels 1, 2, ...: bright enough for CT grey, dark enough for paper; they repeat."""


def label_colour(value: int) -> str:
    """Colour of a label value from 1 on."""
    return COLOURS[(value - 1) % len(COLOURS)]


def spoken(label: str) -> str:
    """A label's name as text: "right_kidney" -> "right kidney"."""
    return label.replace("_", " ")
