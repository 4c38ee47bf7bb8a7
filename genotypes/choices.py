"""What a genotype leaves to be chosen. Each kind of choice finds its own in a genotype, and closes them.

| kind | id | candidates |
|---|---|---|
| operation | `cell.edge` | names of operations |
| width | `cell.parameter.index...` | channel counts, written `{choose: [5, 10]}` in the parameter's place |

    widths: [[{choose: [5, 10]}, 10]]       # branch 0 of the first block has 5 or 10 channels

Until it is decided, the graph has the largest width. A further kind (a block that may be absent, the input's size, a
backbone's width) is one more `Kind` in `KINDS`: search, hash and `decide` take it from there.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from genotypes._checks import freeze, show
from genotypes.errors import GenotypeError

if TYPE_CHECKING:
    from genotypes.genotype import Cell, Genotype

__all__ = ["KINDS", "Candidate", "Kind", "find_widths", "largest_widths"]

Candidate = str | int
Chosen = Mapping[str, Any]  # id -> candidate
Fields = Mapping[str, Any]  # of a Genotype, as closed so far


@dataclass(frozen=True, kw_only=True)
class Kind:
    """find: the open choices of a genotype, id -> candidates. close: the fields of the genotype that they change.

    hashed_as: under which key they are part of a genotype's hash; "": the graph says them.
    """

    name: str
    find: Callable[["Genotype"], dict[str, tuple[Any, ...]]]
    close: Callable[["Genotype", Fields, Chosen], dict[str, Any]]
    hashed_as: str = ""


def _find_operations(genotype: "Genotype") -> dict[str, tuple[str, ...]]:
    return genotype.graph.open


def _close_operations(genotype: "Genotype", fields: Fields, chosen: Chosen) -> dict[str, Any]:
    """Each cell with its operations in the order in which the network computes them, however they were chosen."""
    rank = {edge: rank for rank, edge in enumerate(genotype.graph.edges)}
    left = {edge.split(".")[0] for edge in genotype.graph.open if edge not in chosen}

    def close(cell: "Cell") -> "Cell":
        ops = {f"{cell.name}.{edge}": op for edge, op in cell.operations.items()}
        ops |= {edge: op for edge, op in chosen.items() if edge.split(".")[0] == cell.name}
        operations = {edge.split(".")[1]: ops[edge] for edge in sorted(ops, key=rank.__getitem__)}
        candidates = cell.candidates if cell.name in left else ()
        return dataclasses.replace(cell, operations=MappingProxyType(operations), candidates=candidates)

    return {"cells": tuple(map(close, fields["cells"]))}


def _find_all_widths(genotype: "Genotype") -> dict[str, tuple[int, ...]]:
    found = {cell.name: find_widths(cell.params) for cell in genotype.cells}
    return {f"{cell}.{way}": widths for cell, ways in found.items() for way, widths in ways.items()}


def _close_widths(genotype: "Genotype", fields: Fields, chosen: Chosen) -> dict[str, Any]:
    def close(cell: "Cell") -> "Cell":
        mine = {way.split(".", 1)[1]: width for way, width in chosen.items() if way.split(".")[0] == cell.name}
        params = freeze(_map(cell.params, lambda way, candidates: mine.get(way)))
        return dataclasses.replace(cell, params=params) if mine else cell

    return {"cells": tuple(map(close, fields["cells"]))}


KINDS = (
    Kind(name="operation", find=_find_operations, close=_close_operations),
    Kind(name="width", find=_find_all_widths, close=_close_widths, hashed_as="open_widths"),
)


def find_widths(params: Any, path: tuple[str | int, ...] = ()) -> dict[str, tuple[int, ...]]:
    """Way ("widths.0.0") -> candidates, in the document's order; GenotypeError, with the place, for bad candidates."""
    if _is_open(params):
        return {".".join(map(str, path)): _widths(params["choose"], path)}
    found: dict[str, tuple[int, ...]] = {}
    for key, value in _children(params):
        found |= find_widths(value, (*path, key))
    return found


def largest_widths(params: Any) -> Any:
    """The parameters with the largest candidate in each open width's place."""
    return _map(params, lambda way, candidates: max(candidates))


def _is_open(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"choose"}


def _children(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple):
        yield from enumerate(value)


def _widths(value: Any, path: tuple[str | int, ...]) -> tuple[int, ...]:
    good = isinstance(value, tuple) and all(type(width) is int and width > 0 for width in value)
    if not good or len(value) < 2 or len(set(value)) < len(value):
        raise GenotypeError(f"expected two or more different widths to choose from, not {show(value)}", path)
    return value


def _map(value: Any, decide: Callable[[str, Any], Any], path: tuple[str | int, ...] = ()) -> Any:
    if _is_open(value):
        decided = decide(".".join(map(str, path)), value["choose"])
        return value if decided is None else decided
    if isinstance(value, Mapping):
        return {key: _map(item, decide, (*path, key)) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(item, decide, (*path, index)) for index, item in enumerate(value))
    return value
