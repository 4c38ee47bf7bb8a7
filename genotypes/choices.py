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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from genotypes._checks import at, freeze
from genotypes._open_values import find_widths, is_open, largest_widths, map_widths
from genotypes.parts import Cell, Parts
from genotypes.templates import build_template
from genotypes.vocabulary import BACKBONES, Feature

__all__ = ["KINDS", "Candidate", "Kind"]

Candidate = str | int
Chosen = Mapping[str, Any]  # id -> candidate


@dataclass(frozen=True, kw_only=True)
class Kind:
    """find: the open choices in a genotype's parts, id -> candidates. close: the parts with some of them decided.

    read: (decided parts, id, candidates) -> the one that was taken; None where nothing of it is left.
    hashed_as: the key under which they enter a genotype's hash; "": they are in the graph, which is hashed anyway.
    widths: whether the candidates are channel counts.
    """

    find: Callable[[Parts], dict[str, tuple[Any, ...]]]
    close: Callable[[Parts, Chosen], Parts]
    read: Callable[[Parts, str, tuple[Any, ...]], Any]
    hashed_as: str = ""
    widths: bool = False


def _find_operations(parts: Parts) -> dict[str, tuple[str, ...]]:
    return parts.graph.open


def _close_operations(parts: Parts, chosen: Chosen) -> Parts:
    """Each cell with its operations in the order in which the network computes them, however they were chosen."""
    rank = {edge: rank for rank, edge in enumerate(parts.graph.edges)}
    left = {edge.split(".")[0] for edge in parts.graph.open if edge not in chosen}

    def close(cell: Cell) -> Cell:
        ops = {f"{cell.name}.{edge}": op for edge, op in cell.operations.items()}
        ops |= {edge: op for edge, op in chosen.items() if edge.split(".")[0] == cell.name}
        operations = {edge.split(".")[1]: ops[edge] for edge in sorted(ops, key=rank.__getitem__)}
        candidates = cell.candidates if cell.name in left else ()
        return replace(cell, operations=MappingProxyType(operations), candidates=candidates)

    return replace(parts, cells=tuple(map(close, parts.cells)))


def _read_operation(parts: Parts, choice: str, candidates: tuple[Any, ...]) -> Any:
    return parts.graph.operations().get(choice)


def _find_all_widths(parts: Parts) -> dict[str, tuple[int, ...]]:
    found = {cell.name: find_widths(cell.params) for cell in parts.cells}
    return {f"{cell}.{path}": widths for cell, paths in found.items() for path, widths in paths.items()}


def _close_widths(parts: Parts, chosen: Chosen) -> Parts:
    def close(cell: Cell) -> Cell:
        mine = {choice.split(".", 1)[1]: width for choice, width in chosen.items() if choice.split(".")[0] == cell.name}
        params = freeze(map_widths(cell.params, lambda path, widths: mine.get(".".join(map(str, path)))))
        return replace(cell, params=params)

    return replace(parts, cells=tuple(map(close, parts.cells)))


def _read_width(parts: Parts, choice: str, candidates: tuple[Any, ...]) -> Any:
    name, *path = choice.split(".")
    value: Any = next((cell.params for cell in parts.cells if cell.name == name), None)
    for part in path:
        if value is not None:
            value = value.get(part) if isinstance(value, Mapping) else value[int(part)]
    return value


def _find_hidden(parts: Parts) -> dict[str, tuple[int, ...]]:
    widths = parts.backbone.widths if parts.backbone else ()
    return {f"backbone.widths.{index}": width["choose"] for index, width in enumerate(widths) if is_open(width)}


def _close_hidden(parts: Parts, chosen: Chosen) -> Parts:
    if parts.backbone is None or not chosen:
        return parts
    widths = [chosen.get(f"backbone.widths.{index}", width) for index, width in enumerate(parts.backbone.widths)]
    return replace(parts, backbone=replace(parts.backbone, widths=tuple(widths)))


def _read_hidden(parts: Parts, choice: str, candidates: tuple[Any, ...]) -> Any:
    index, widths = int(choice.split(".")[2]), parts.backbone.widths if parts.backbone else ()
    return widths[index] if index < len(widths) else None


def _find_inputs(parts: Parts) -> dict[str, tuple[str, ...]]:
    return {f"{cell.name}.inputs": cell.input_sets for cell in parts.cells if cell.input_sets}


def _close_inputs(parts: Parts, chosen: Chosen) -> Parts:
    """The cells with these inputs; then without edges, cells, features and blocks that nothing needs any more."""
    if not chosen:
        return parts

    def close(cell: Cell) -> Cell:
        kept = chosen[f"{cell.name}.inputs"].split()
        inputs = {alias: reference for alias, reference in cell.inputs.items() if reference in kept}
        features = {
            alias: Feature(alias, parts.graph[reference].stride, parts.graph[reference].width)
            for alias, reference in inputs.items()
        }
        nodes = build_template(cell.template, features, freeze(largest_widths(cell.params)))
        there = {edge.name for node in nodes for edge in node.edges}
        operations = {edge: op for edge, op in cell.operations.items() if edge in there}
        return replace(cell, inputs=MappingProxyType(inputs), operations=MappingProxyType(operations), input_sets=())

    cells = [
        at(("cells", index), close, cell) if f"{cell.name}.inputs" in chosen else cell
        for index, cell in enumerate(parts.cells)
    ]
    while True:
        read = {reference for cell in cells for reference in cell.inputs.values()} | set(parts.outputs)
        needed = [cell for cell in cells if any(reference.split(".")[0] == cell.name for reference in read)]
        if len(needed) == len(cells):
            break
        cells = needed
    backbone = parts.backbone
    if backbone is not None:
        taps = tuple(tap for tap in backbone.taps if tap in read)
        depth = BACKBONES[backbone.name].depth
        backbone = replace(backbone, taps=taps, widths=backbone.widths[: depth(taps)]) if taps else None
    return replace(parts, cells=tuple(cells), backbone=backbone)


def _read_inputs(parts: Parts, choice: str, candidates: tuple[Any, ...]) -> Any:
    there = next((set(cell.inputs.values()) for cell in parts.cells if f"{cell.name}.inputs" == choice), None)
    return next((candidate for candidate in candidates if set(candidate.split()) == there), None)


def _find_size(parts: Parts) -> dict[str, tuple[int, ...]]:
    return {"input.size": parts.input.sizes} if parts.input.sizes else {}


def _close_size(parts: Parts, chosen: Chosen) -> Parts:
    if not chosen:
        return parts
    side = chosen["input.size"]
    return replace(parts, input=replace(parts.input, size=(side, side), sizes=()))


def _read_size(parts: Parts, choice: str, candidates: tuple[Any, ...]) -> Any:
    return parts.input.size[0]


KINDS = (
    Kind(find=_find_operations, close=_close_operations, read=_read_operation),
    Kind(find=_find_all_widths, close=_close_widths, read=_read_width, hashed_as="open_widths", widths=True),
    Kind(find=_find_hidden, close=_close_hidden, read=_read_hidden, hashed_as="open_hidden_widths", widths=True),
    Kind(find=_find_inputs, close=_close_inputs, read=_read_inputs, hashed_as="open_inputs"),
    Kind(find=_find_size, close=_close_size, read=_read_size),  # weights fit any size: it is in no hash
)
