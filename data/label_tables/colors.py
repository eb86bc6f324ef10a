"""Colours of labels: by their names alone, so that a label looks the same in every mask."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence

from .known import Color
from .names import LEFT, known_label, plain_name

BACKGROUND: Color = (0, 0, 0)
_LIGHTER, _DARKER = 0.25, 0.78


def color_of(name: str, *, attempt: int = 0) -> Color:
    """Red, green and blue (0 to 255) of a label's name; the same in every bundle.

    Known organs have the colour of the table (`known.py`), others one made of the name. Case,
    underscores and the place of the side do not count. Left is lighter, right darker.

    Args:
        attempt: other numbers give other colours, for names whose first ones are alike.

    >>> color_of("liver") == color_of("Liver"), color_of("kidney_left") == color_of("left kidney")
    (True, True)
    >>> color_of("kidney_left") == color_of("kidney_right")
    False
    """
    plain, side = plain_name(name)
    known = known_label(plain) if attempt == 0 else None
    if known is not None and known.color is not None and not plain[-1:].isdigit():
        color = known.color
    else:
        color = _made_of(plain if attempt == 0 else f"{name}\0{attempt}")
    if side is None:
        return color
    return _lighter(color) if side == LEFT else _darker(color)


def colors_of(names: Sequence[str]) -> list[Color]:
    """The colours of a bundle's labels, the background (first) black; no two of them alike.

    Where the colours of two names are the same, the name that sorts first keeps it, whatever their
    order in the bundle.

    Args:
        names: in the order of their values.
    """
    taken = {BACKGROUND}
    found = {names[0]: BACKGROUND} if names else {}
    for name in sorted(names[1:]):
        attempt = 0
        while (color := color_of(name, attempt=attempt)) in taken:
            attempt += 1
        taken.add(color)
        found[name] = color
    return [found[name] for name in names]


def cielab(color: Color) -> tuple[int, int, int]:
    """L*, a* and b* as DICOM's 16-bit numbers (PS3.3 C.10.7.1.1), of an sRGB colour (D65).

    >>> cielab((255, 255, 255))
    (65535, 32896, 32896)
    """
    red, green, blue = (_linear(one / 255) for one in color)
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883
    fx, fy, fz = _root(x), _root(y), _root(z)
    lightness = min(max(116 * fy - 16, 0.0), 100.0)
    return (
        round(lightness * 65535 / 100),
        round((500 * (fx - fy) + 128) * 257),
        round((200 * (fy - fz) + 128) * 257),
    )


def _made_of(text: str) -> Color:
    """A colour of a text: any hue, never near black, white or grey."""
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    hue = int.from_bytes(digest[:3], "big") / 2**24
    saturation = 0.45 + 0.5 * digest[3] / 255
    value = 0.6 + 0.34 * digest[4] / 255
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _lighter(color: Color) -> Color:
    red, green, blue = (round(one + (255 - one) * _LIGHTER) for one in color)
    return red, green, blue


def _darker(color: Color) -> Color:
    red, green, blue = (round(one * _DARKER) for one in color)
    return red, green, blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _root(value: float) -> float:
    return value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
