"""Open widths: a channel count in a cell's parameters that is a list of candidates instead of a number.

    widths: [[{choose: [5, 10]}, 10]]       # branch 0 of the first block has 5 or 10 channels

A width is addressed by the cell and the way to it in the cell's parameters: "stage1.widths.0.0". Until it is decided,
the graph has the largest candidate.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from genotypes._checks import show
from genotypes.errors import GenotypeError

__all__ = ["close_widths", "find_open_widths", "largest_widths"]


def find_open_widths(params: Any, path: tuple[str | int, ...] = ()) -> dict[str, tuple[int, ...]]:
    """Way ("widths.0.0") -> candidates, in the document's order; GenotypeError, with the place, for bad candidates."""
    if _is_open(params):
        return {".".join(map(str, path)): _candidates(params["choose"], path)}
    found = {}
    for key, value in _children(params):
        found |= find_open_widths(value, (*path, key))
    return found


def largest_widths(params: Any) -> Any:
    """The parameters with the largest candidate in each open width's place."""
    return _map(params, lambda way, candidates: max(candidates))


def close_widths(params: Any, choices: Mapping[str, int]) -> Any:
    """The parameters with the widths that `choices` names in place of their candidates."""
    return _map(params, lambda way, candidates: choices.get(way))


def _is_open(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"choose"}


def _children(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple):
        yield from enumerate(value)


def _candidates(value: Any, path: tuple[str | int, ...]) -> tuple[int, ...]:
    good = isinstance(value, tuple) and all(type(width) is int and width > 0 for width in value)
    if not good or len(value) < 2 or len(set(value)) < len(value):
        raise GenotypeError(f"expected two or more different widths to choose from, not {show(value)}", path)
    return value


def _map(value: Any, decide: Any, path: tuple[str | int, ...] = ()) -> Any:
    if _is_open(value):
        decided = decide(".".join(map(str, path)), value["choose"])
        return value if decided is None else decided
    if isinstance(value, Mapping):
        return {key: _map(item, decide, (*path, key)) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(item, decide, (*path, index)) for index, item in enumerate(value))
    return value
