"""What a network can be trained on: labels of one rater or several, softened or not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from svls_cli.errors import InvalidParameterError, check_choice
from svls_cli.raters.choices import FUSIONS
from svls_cli.raters.fusion import Fusion
from svls_cli.soften.methods import Method
from svls_cli.soften.parsing import parse_method
from svls_cli.training.choices import Target

# One rater's label map, drawn for each patch.
RATER = "rater"
# In the place of a method: the one that `tune` recommends by the cases to train on.
TUNED = "tuned"


@dataclass(frozen=True)
class Recipe:
    """How the labels to train on are made from one rater's label maps, or several's.

    Parameters
    ----------
    name
        The text that names it.
    fusion
        How several raters' label maps become one; None for one label map per case.
    method
        How that one is softened; None if `tune` is to choose it.
    target
        As in `TrainingConfig`.
    note
        What `tune` says of the method that it chose.
    """

    name: str
    fusion: Fusion | None
    method: Method | None
    target: Target = "soft"
    note: str = ""

    @property
    def store(self) -> str:
        """Name of the store of its labels; recipes that differ in the target share it.

        Examples
        --------
        >>> parse_recipe("rater").store
        'mean+onehot'
        """
        return "mean+onehot" if self.target == "rater" else self.name

    @property
    def smooths_across_slices(self) -> bool:
        """Whether its window reaches along the first of three axes."""
        record = self.method.to_json() if self.method else {}
        size = record.get("size", 1)
        first = size[0] if isinstance(size, list) and len(size) == 3 else size
        return bool(first != 1)

    def to_json(self) -> dict[str, Any]:
        """All parameters, with their defaults."""
        return {
            "name": self.name,
            "fusion": self.fusion.to_json() if self.fusion else None,
            "method": self.method.to_json() if self.method else None,
            "target": self.target,
            **({"note": self.note} if self.note else {}),
        }

    def __str__(self) -> str:
        """All parameters of the method, in words.

        Examples
        --------
        >>> str(parse_recipe("mean+svls:sigma=2"))
        'mean+svls:sigma=2: mean of the raters; svls, sigma 2, size 3, strength 0.5'
        """
        if self.target == "rater":
            return f"{self.name}: one rater's label map, drawn for each patch"
        name, *others = (self.method.to_json() if self.method else {}).items()
        parts = [str(name[1]), *(f"{key} {_text(value)}" for key, value in others)]
        fused = f"{self.fusion.name} of the raters; " if self.fusion else ""
        note = f" ({self.note})" if self.note else ""
        return f"{self.name}: {fused}{', '.join(parts)}{note}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(_text, value))
    return value if isinstance(value, str) else f"{value:g}"


def parse_recipe(text: str) -> Recipe:
    """A recipe from ``method``, ``fusion+method`` or ``rater``.

    A method is written as `parse_method` reads it; ``tuned`` stands for the one that
    `tune` recommends, for ``mean`` by how a fused label forecasts another rater, and
    for ``majority``, one map, by how one rater's does. ``rater`` draws one rater's
    label map for each patch.

    Raises
    ------
    InvalidParameterError
        If the text cannot be parsed, or a value is out of range.

    Examples
    --------
    >>> recipe = parse_recipe("mean+svls:size=1x3x3")
    >>> recipe.fusion.name, recipe.method.size
    ('mean', (1, 3, 3))
    """
    if text == RATER:
        return Recipe(text, Fusion("mean"), Method("onehot"), target="rater")
    before, plus, after = text.partition("+")
    if re.split("[+:]", text)[0] == RATER:
        raise InvalidParameterError(
            f"method {text!r}: {RATER} stands alone, for one rater's own label map"
        )
    fusion = None
    if plus:
        check_choice("fusion", before, FUSIONS)
        fusion = Fusion(before)  # type: ignore[arg-type]
    softened = after if plus else before
    if softened.partition(":")[0] != TUNED:
        return Recipe(text, fusion, parse_method(softened))
    if text not in (f"mean+{TUNED}", f"majority+{TUNED}"):
        raise InvalidParameterError(
            f"method {text!r}: expected mean+{TUNED} or majority+{TUNED}, of several "
            "raters and without parameters, which tune chooses"
        )
    return Recipe(text, fusion, None)


def parse_recipes(texts: Sequence[str]) -> list[Recipe]:
    """Different recipes, all of one label map per case or all of several raters.

    Raises
    ------
    InvalidParameterError
        If there are none, or both kinds, or one is named twice; as `parse_recipe`.
    """
    if not texts:
        raise InvalidParameterError("expected at least one method")
    recipes = [parse_recipe(text) for text in texts]
    for at, text in enumerate(texts):
        if text in texts[:at]:
            raise InvalidParameterError(f"method {text!r} is named twice")
    of_raters = [recipe.name for recipe in recipes if recipe.fusion]
    others = [recipe.name for recipe in recipes if not recipe.fusion]
    if of_raters and others:
        raise InvalidParameterError(
            f"method {of_raters[0]!r} is of several raters, {others[0]!r} of one label "
            f"map per case; with several raters write majority+{others[0]}, "
            f"mean+{others[0]} or staple+{others[0]}"
        )
    return recipes
