"""What a genotype leaves to be chosen. Each kind of choice finds its own in a genotype, and closes them.

| kind | id | candidates |
|---|---|---|
| operation | `cell.edge` | names of operations |
| width | `cell.parameter.index...` | channel counts, written `{choose: [5, 10]}` in the parameter's place |
| hidden width | `backbone.widths.index` | those of a backbone's block; 0 where it may be absent |
| inputs | `cell.inputs` | lists of features, each in one string: `inputs: {choose: [s32 s16 s8, s32 s16]}` |
| size | `input.size` | sides of the picture in pixels: `size: {choose: [96, 128]}` |

    widths: [[{choose: [5, 10]}, 10]]       # branch 0 of the first block has 5 or 10 channels

Until it is decided, the graph has the largest width and all inputs. What no output needs once inputs are decided is
left out: features of the backbone and its blocks beyond them, cells, choices inside them. A further kind is one more
`Kind` in `KINDS`: search, hash and `decide` take it from there.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from genotypes._checks import freeze, show
from genotypes.errors import GenotypeError
from genotypes.templates import build_template
from genotypes.vocabulary import BACKBONES, Feature

if TYPE_CHECKING:
    from genotypes.genotype import Cell, Genotype

__all__ = ["KINDS", "Candidate", "Kind", "candidates", "find_widths", "is_open", "largest_widths"]

Candidate = str | int
DocumentPath = tuple[str | int, ...]  # in a document
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
        params = freeze(_map(cell.params, lambda path, widths: mine.get(".".join(map(str, path)))))
        return dataclasses.replace(cell, params=params) if mine else cell

    return {"cells": tuple(map(close, fields["cells"]))}


def _find_hidden(genotype: "Genotype") -> dict[str, tuple[int, ...]]:
    widths = genotype.backbone.widths if genotype.backbone else ()
    return {f"backbone.widths.{index}": width["choose"] for index, width in enumerate(widths) if is_open(width)}


def _close_hidden(genotype: "Genotype", fields: Fields, chosen: Chosen) -> dict[str, Any]:
    backbone = fields["backbone"]
    if not chosen:
        return {}
    widths = [chosen.get(f"backbone.widths.{index}", width) for index, width in enumerate(backbone.widths)]
    return {"backbone": dataclasses.replace(backbone, widths=tuple(widths))}


def _find_inputs(genotype: "Genotype") -> dict[str, tuple[str, ...]]:
    return {f"{cell.name}.inputs": cell.input_sets for cell in genotype.cells if cell.input_sets}


def _close_inputs(genotype: "Genotype", fields: Fields, chosen: Chosen) -> dict[str, Any]:
    """The cells with these inputs; then without edges, cells, features and blocks that nothing needs any more."""
    if not chosen:
        return {}

    def close(cell: "Cell") -> "Cell":
        if f"{cell.name}.inputs" not in chosen:
            return cell
        kept = chosen[f"{cell.name}.inputs"].split()
        inputs = {alias: reference for alias, reference in cell.inputs.items() if reference in kept}
        features = {
            alias: Feature(alias, genotype.graph[reference].stride, genotype.graph[reference].width)
            for alias, reference in inputs.items()
        }
        nodes = build_template(cell.template, features, freeze(largest_widths(cell.params)))
        there = {edge.name for node in nodes for edge in node.edges}
        operations = {edge: op for edge, op in cell.operations.items() if edge in there}
        return dataclasses.replace(
            cell, inputs=MappingProxyType(inputs), operations=MappingProxyType(operations), input_sets=()
        )

    cells = [close(cell) for cell in fields["cells"]]
    while True:
        read = {reference for cell in cells for reference in cell.inputs.values()} | set(genotype.outputs)
        needed = [cell for cell in cells if any(reference.split(".")[0] == cell.name for reference in read)]
        if len(needed) == len(cells):
            break
        cells = needed
    backbone = fields["backbone"]
    if backbone is not None:
        taps = tuple(tap for tap in backbone.taps if tap in read)
        widths = backbone.widths[: BACKBONES[backbone.name].depth(taps)] if taps else ()
        backbone = dataclasses.replace(backbone, taps=taps, widths=widths) if taps else None
    return {"cells": tuple(cells), "backbone": backbone}


def _find_size(genotype: "Genotype") -> dict[str, tuple[int, ...]]:
    return {"input.size": genotype.input.sizes} if genotype.input.sizes else {}


def _close_size(genotype: "Genotype", fields: Fields, chosen: Chosen) -> dict[str, Any]:
    sides = [(side, side) for side in chosen.values()]
    return {"input": dataclasses.replace(genotype.input, size=sides[0], sizes=())} if sides else {}


KINDS = (
    Kind(name="operation", find=_find_operations, close=_close_operations),
    Kind(name="width", find=_find_all_widths, close=_close_widths, hashed_as="open_widths"),
    Kind(name="hidden width", find=_find_hidden, close=_close_hidden, hashed_as="open_hidden_widths"),
    Kind(name="inputs", find=_find_inputs, close=_close_inputs, hashed_as="open_inputs"),
    Kind(name="size", find=_find_size, close=_close_size),  # weights fit any size: it is in no hash
)


def find_widths(params: Any) -> dict[str, tuple[int, ...]]:
    """Way ("widths.0.0") -> candidates, in the document's order; GenotypeError, with the place, for bad candidates."""
    found: dict[str, tuple[int, ...]] = {}

    def note(path: DocumentPath, widths: Any) -> None:
        found[".".join(map(str, path))] = candidates(widths, 0, path)

    _map(params, note)
    return found


def largest_widths(params: Any) -> Any:
    """The parameters with the largest candidate in each open width's place."""
    return _map(params, lambda path, widths: max(widths))


def candidates(value: Any, least: int, path: DocumentPath = ()) -> tuple[int, ...]:
    """The checked candidates of `{choose: [...]}`: two or more different integers, none below `least`."""
    good = isinstance(value, tuple) and all(type(item) is int and item >= least for item in value)
    if not good or len(value) < 2 or len(set(value)) < len(value):
        raise GenotypeError(f"expected two or more different widths to choose from, not {show(value)}", path)
    return value


def is_open(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"choose"}


def _map(value: Any, decide: Callable[[DocumentPath, Any], Any], path: DocumentPath = ()) -> Any:
    """The value with what `decide` makes of the path and candidates of each open width; of None it stays open."""
    if is_open(value):
        decided = decide(path, value["choose"])
        return value if decided is None else decided
    if isinstance(value, Mapping):
        return {key: _map(item, decide, (*path, key)) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(item, decide, (*path, index)) for index, item in enumerate(value))
    return value
