"""Colours that also people with colour-blindness can tell apart.

References
----------
.. [1] Okabe & Ito, "Color Universal Design", 2008, https://jfly.uni-koeln.de/color/.
"""

from __future__ import annotations

import colorsys

ORANGE = "E69F00"
SKY_BLUE = "56B4E9"
GREEN = "009E73"
YELLOW = "F0E442"
BLUE = "0072B2"
VERMILLION = "D55E00"
PURPLE = "CC79A7"
BLACK = "000000"

# Classes lie on grey images: first those that colour-blind people, too, see far from
# grey and from one another.
_CLASSES = (ORANGE, SKY_BLUE, VERMILLION, BLUE, YELLOW, GREEN, PURPLE)


def class_color(value: int) -> str:
    """Default colour of the class of a label value, as six hexadecimal digits.

    The background (0) is black and values 1 to 7 have the colours of [1]_. More than
    these nobody can tell apart without fail: the others have hues a golden angle
    apart, odd ones paler.

    Examples
    --------
    >>> class_color(0), class_color(1), class_color(8)
    ('000000', 'E69F00', 'F21861')
    """
    if value == 0:
        return BLACK
    if value <= len(_CLASSES):
        return _CLASSES[value - 1]
    hue = value * 0.618033988749895 % 1
    rgb = colorsys.hsv_to_rgb(hue, 0.65 if value % 2 else 0.9, 0.95)
    return "".join(f"{round(255 * part):02X}" for part in rgb)
