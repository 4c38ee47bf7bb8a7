"""Settings of a recipe: what a study is told to try, and a recipe with some of them changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from genotypes import UserError
from genotypes.yaml_io import parse_yaml
from nas.options import from_dict, to_dict
from retrain.recipe import Recipe

__all__ = ["candidates", "changed"]

_GRID = 9  # values of LOW..HIGH
_MOST = 1000  # values of LOW..HIGH:COUNT


def candidates(texts: Sequence[str], recipe: Recipe) -> dict[str, list[Any]]:
    """Field -> values to try, as a recipe has them, of texts FIELD=A,B,C or FIELD=LOW..HIGH[:COUNT].

    Raises UserError for anything that is no field of a recipe, or no value of it. A value that is given twice is tried
    once.
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, _, given = text.partition("=")
        low, dots, high = given.partition("..")
        try:
            if dots:
                values = _spaced(low, high, whole=_is_whole(recipe, name))
            else:
                values = [parse_yaml(word)[0] for word in given.split(",")]
        except ValueError:
            values = []
        if not values or None in values or name in found:
            range_ = ", LOW above 0 and below HIGH" if dots else ""
            count = f"; COUNT in LOW..HIGH:COUNT is 2 to {_MOST:,}" if ":" in high else ""
            raise UserError(f"--search {text}: expected FIELD=A,B,C or FIELD=LOW..HIGH{range_}, each field once{count}")
        try:
            if name == "native" or (recipe.native and name == "size"):
                raise UserError("trials are judged alike only if photographs are seen alike: set recipe.native for all")
            values = [_value(changed(recipe, {name: value}), name) for value in values]
            if any(isinstance(value, list | dict) for value in values):
                raise UserError(f"{name} holds several values, and what is tried is one; set recipe.{name} for all")
            found[name] = list(dict.fromkeys(values))
        except UserError as error:
            raise UserError(f"--search {text}: {error}") from None
    if not found:
        raise UserError("give --search FIELD=VALUES, such as optim.lr=1e-3..1e-2 size=96,128 loss.terms.iou=0,0.5,1")
    return found


def _spaced(low: str, high: str, *, whole: bool) -> list[float]:
    """Numbers evenly spaced on a logarithmic scale, the ends as given and those between them of three digits, or whole.

    Whole ones are int, since fields that count take no floats.
    """
    high, _, count = high.partition(":")
    a, b, n = float(low), float(high), int(count or _GRID)
    if not (0 < a < b and 2 <= n <= _MOST):
        raise ValueError
    between = (float(f"{a * (b / a) ** (i / (n - 1)):.3g}") for i in range(1, n - 1))
    between = (float(round(value)) if whole else value for value in between)
    values = [a, *(value for value in between if a < value < b), b]
    return [int(value) if value.is_integer() else value for value in values]


def changed(recipe: Recipe, choices: Mapping[str, Any]) -> Recipe:
    """The recipe with some fields, named with dots (`optim.lr`, `loss.terms.iou`), of other values.

    >>> changed(Recipe(), {"optim.lr": 1e-3, "loss.terms.iou": 0.5}).loss.terms
    {'bce': 1.0, 'iou': 0.5}
    """
    values: dict[str, Any] = {}
    for name, value in choices.items():
        *groups, last = name.split(".")
        place, there = values, to_dict(recipe)
        for group in groups:
            inner = there.get(group)
            there = inner if isinstance(inner, dict) else {}
            place = place.setdefault(group, dict(there))
        place[last] = value
    return from_dict(recipe, values)


def _is_whole(recipe: Recipe, name: str) -> bool:
    """Whether a field counts something; False for what is no field."""
    try:
        return type(_value(recipe, name)) is int
    except (KeyError, TypeError):
        return False


def _value(recipe: Recipe, name: str) -> Any:
    value: Any = to_dict(recipe)
    for part in name.split("."):
        value = value[part]
    return value
