"""Open values in a document: `{choose: [5, 10]}` in the place of a value, with what may be chosen there."""

from collections.abc import Callable, Mapping
from typing import Any

from genotypes._checks import show
from genotypes.errors import GenotypeError

__all__ = ["checked_candidates", "find_widths", "is_open", "largest_widths", "map_widths"]

DocumentPath = tuple[str | int, ...]


def is_open(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"choose"}


def checked_candidates(value: Any, least: int, path: DocumentPath = (), *, what: str = "widths") -> tuple[int, ...]:
    """The checked candidates of `{choose: [...]}`: two or more different integers, none below `least`."""
    good = isinstance(value, tuple) and all(type(item) is int and item >= least for item in value)
    if not good or len(value) < 2 or len(set(value)) < len(value):
        wanted = f"two or more different {what} to choose from, integers from {least} up"
        raise GenotypeError(f"expected {wanted}, not {show(value)}", path)
    return value


def map_widths(value: Any, decide: Callable[[DocumentPath, Any], Any], path: DocumentPath = ()) -> Any:
    """The value, with what `decide(path, candidates)` returns in place of each open width; None leaves it open."""
    if is_open(value):
        decided = decide(path, value["choose"])
        return value if decided is None else decided
    if isinstance(value, Mapping):
        return {key: map_widths(item, decide, (*path, key)) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map_widths(item, decide, (*path, index)) for index, item in enumerate(value))
    return value


def find_widths(params: Any) -> dict[str, tuple[int, ...]]:
    """Path ("widths.0.0") -> candidates, in the document's order; GenotypeError, with the place, for bad candidates."""
    found: dict[str, tuple[int, ...]] = {}

    def note(path: DocumentPath, widths: Any) -> None:
        found[".".join(map(str, path))] = checked_candidates(widths, 0, path)

    map_widths(params, note)
    return found


def largest_widths(params: Any) -> Any:
    """The parameters with the largest candidate in each open width's place."""
    return map_widths(params, lambda path, widths: max(widths))
