"""Colours and dashes of lines: told apart without colour vision, and on any image.

Lines have a dark edge, so that they stand out from light images as well.
"""

from __future__ import annotations

from svls_cli.labels.classes import ClassTable

# Of raters: three of Okabe & Ito's, then those that are farthest from these, from each
# other and from white, with every kind of colour vision; legible on black.
HUES = ("E69F00", "56B4E9", "F0E442", "E62263", "B5FFA6", "B06CFF", "996E17")
# Lengths of lines and gaps, in pixels of the screen.
DASHES = ("6 3", "2 2.5", "9 3 2 3", "4 2 1 2 1 2", "12 4", "1 4", "5 5")
# Of matplotlib's magma: light is uncertain, in grey as well.
ENTROPY_COLORS = ("07060F", "3B0F70", "8C2981", "DE4968", "FE9F6D", "FCFDBF")


def class_colors(classes: ClassTable) -> dict[int, str]:
    """Colour of each class but background, by its index, as RRGGBB."""
    return {c.index: legible(c.color) for c in classes.classes if c.value}


def hue(at: int) -> str:
    """Colour of a rater's lines, where classes need none."""
    return HUES[at % len(HUES)]


def dash(at: int) -> str:
    """Lengths of lines and gaps of a rater."""
    return DASHES[at % len(DASHES)]


def legible(color: str) -> str:
    """A colour, mixed with white until it has a contrast of 4.5 with black.

    Examples
    --------
    >>> legible("FFFF00"), legible("000080")
    ('FFFF00', '7070B8')
    """
    rgb = list(bytes.fromhex(color))
    for share in range(0, 101, 2):
        mixed = [round(x + (255 - x) * share / 100) for x in rgb]
        if contrast(mixed, [0, 0, 0]) >= 4.5:
            return "".join(f"{x:02X}" for x in mixed)
    return "FFFFFF"


def contrast(one: list[int], other: list[int]) -> float:
    """Contrast of two colours, from 1 to 21.

    References
    ----------
    .. [1] WCAG 2.2, "contrast ratio" and "relative luminance".
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(rgb: list[int]) -> float:
    parts = [x / 255 for x in rgb]
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
    ]
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
