"""What a network can be trained on: labels of one rater or several, softened or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    """

    name: str
    fusion: Fusion | None
    method: Method | None
    target: Target = "soft"

    @property
    def store(self) -> str:
        """Name of the store of its labels; recipes that differ in the target share it.

        Examples
        --------
        >>> parse_recipe("rater").store
        'mean+onehot'
        """
        return "mean+onehot" if self.target == "rater" else self.name


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
    fusion = None
    if plus:
        check_choice("fusion", before, FUSIONS)
        fusion = Fusion(before)  # type: ignore[arg-type]
    softened = after if plus else before
    if softened != TUNED:
        return Recipe(text, fusion, parse_method(softened))
    if fusion is None or fusion.name == "staple":
        raise InvalidParameterError(
            f"method {text!r}: tuning needs several raters; expected mean+{TUNED} or "
            f"majority+{TUNED}"
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
