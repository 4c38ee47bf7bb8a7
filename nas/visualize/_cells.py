"""The picture of a genotype's cells: one panel a cell, in the order in which the network computes them."""

from collections.abc import Iterable
from typing import Any

from genotypes import Genotype, UserError, incoming
from genotypes.vocabulary import OPERATIONS
from nas.visualize._colours import OPEN, operation_label, operation_stroke, stride_colour
from nas.visualize._marks import View, feature, how_it_leaves, link, port
from nas.visualize._scene import Key, Panel, Picture
from nas.visualize._words import Probabilities, likeliest

__all__ = ["cells_picture", "check_probabilities", "occurring_operations", "stride_keys"]


def cells_picture(
    genotype: Genotype,
    probabilities: Probabilities | None = None,
    *,
    hide_none: bool = False,
    compact: bool = False,
) -> Picture:
    """Panels of all cells; cells that differ in nothing but their name and sources share one panel.

    Arguments as in `draw` and `View`. Raises UserError for probabilities of an edge or operation that is not there.
    """
    probabilities = check_probabilities(genotype, probabilities or {})
    view = View(genotype=genotype, probabilities=probabilities, hide_none=hide_none, compact=compact)
    order = list(_nodes_by_cell(genotype))
    groups: dict[Any, list[str]] = {}
    for cell in order:
        groups.setdefault(_signature(view, cell), []).append(cell)
    opened = len(genotype.open_edges())
    backbone = f"{genotype.backbone.name} backbone, " if genotype.backbone else ""
    counts = f"{len(order)} cells, {genotype.graph.number_of_edges()} edges"
    state = f"{opened} of them open" if opened else "all decided"
    return Picture(
        title=genotype.name,
        subtitle=f"{backbone}{counts}, {state}, hash {genotype.hash[:12]}",
        panels=tuple(_panel(view, cells, order.index(cells[0]) + 1) for cells in groups.values()),
        keys=(_operation_keys(view), stride_keys(_strides(genotype))),
        notes=_notes(view),
    )


def occurring_operations(genotype: Genotype, probabilities: Probabilities | None = None) -> list[str]:
    """The operations a drawing shows: those of decided edges, and the leading one of open edges with probabilities."""
    found = {likeliest(data, probabilities or {}) for _, _, data in genotype.graph.edges(data=True)} - {None}
    return sorted(found, key=list(OPERATIONS).index)


def check_probabilities(genotype: Genotype, probabilities: Probabilities) -> Probabilities:
    """`probabilities` itself; UserError where it does not belong to the genotype."""
    open_edges = genotype.open_edges()
    for edge, shares in probabilities.items():
        if edge not in open_edges:
            raise UserError(f"probabilities: {edge!r} is not an open edge; open: {', '.join(open_edges) or 'none'}")
        if not shares:
            raise UserError(f"probabilities: {edge!r} names no operation")
        for op, share in shares.items():
            if op not in open_edges[edge]:
                raise UserError(f"probabilities: {op!r} is no candidate of {edge!r}: {', '.join(open_edges[edge])}")
            # Rounding of a float32 softmax may exceed 1 by a little.
            if not 0 <= share <= 1.0001:
                raise UserError(f"probabilities: {edge!r}, {op!r}: expected a number from 0 to 1, not {share!r}")
    return probabilities


def stride_keys(strides: Iterable[int]) -> tuple[Key, ...]:
    """The legend's patches, finest stride first."""
    return tuple(Key(text=f"stride {stride}", fill=stride_colour(stride)) for stride in sorted(set(strides)))


def _strides(genotype: Genotype) -> set[int]:
    return {node["stride"] for _, node in genotype.graph.nodes(data=True) if node["kind"] != "image"}


def _nodes_by_cell(genotype: Genotype) -> dict[str, list[str]]:
    cells: dict[str, list[str]] = {}
    for name, node in genotype.graph.nodes(data=True):
        if node["kind"] == "cell":
            cells.setdefault(node["cell"], []).append(name)
    return cells


def _signature(view: View, cell: str) -> Any:
    """Equal for cells that draw alike. Features from outside count by stride and width, and by order of appearance."""
    graph = view.genotype.graph
    names = {name: name.split(".", 1)[1] for name in _nodes_by_cell(view.genotype)[cell]}
    outside: dict[str, tuple] = {}
    parts: list[tuple] = []
    for name, local in names.items():
        node = graph.nodes[name]
        leaves = how_it_leaves(view.genotype, name)
        parts.append((local, *(node[key] for key in ("stride", "width", "combine", "post")), leaves))
        for edge in incoming(graph, name):
            source = edge["source"]
            if source not in names:
                origin = graph.nodes[source]
                outside.setdefault(source, (len(outside), origin["stride"], origin["width"]))
            shares = tuple(sorted(view.probabilities.get(edge["id"], {}).items()))
            keys = ("name", "op", "pre", "post", "width", "choice")
            parts.append((names.get(source) or outside[source], *(edge[key] for key in keys), shares))
    return tuple(parts)


def _panel(view: View, cells: list[str], number: int) -> Panel:
    genotype, cell = view.genotype, cells[0]
    nodes = _nodes_by_cell(genotype)[cell]
    shapes, links = {}, []
    for name in nodes:
        for edge in incoming(genotype.graph, name):
            if view.hide_none and likeliest(edge, view.probabilities) == "none":
                continue
            source = edge["source"]
            if source not in nodes and source not in shapes:
                number_of_ports = sum(shape.form == "pill" for shape in shapes.values())
                text = f"input {number_of_ports + 1}" if len(cells) > 1 else ""
                shapes[source] = port(view, source, text=text)
            links.append(link(view, edge, name))
        shapes[name] = feature(view, name)
    subtitle = next(item.template for item in genotype.cells if item.name == cell)
    if len(cells) > 1:
        others = cells if len(cells) <= 4 else [*cells[:2], "…", cells[-1]]
        subtitle += f", {len(cells)} cells alike: {', '.join(others)}"
    return Panel(
        title=f"{number}  {cell}",
        subtitle=subtitle,
        shapes=tuple(shapes.values()),
        links=tuple(links),
        count=len(cells),
    )


def _operation_keys(view: View) -> tuple[Key, ...]:
    keys = []
    for op in occurring_operations(view.genotype, view.probabilities):
        if op == "none" and view.hide_none:
            continue
        short = operation_label(op)
        text = op if short == op.replace("_", " ").replace("3x3", "3×3") else f"{op}  ({short})"
        keys.append(Key(text=text, stroke=operation_stroke(op), operation=op))
    if set(view.genotype.open_edges()) - set(view.probabilities):
        keys.append(Key(text="open edge", stroke=OPEN))
    return tuple(keys)


def _notes(view: View) -> tuple[str, ...]:
    edges = [data for _, _, data in view.genotype.graph.edges(data=True)]
    notes = []
    if any(edge["choice"] for edge in edges) and not view.probabilities:
        notes.append("Thick arrows: what a search can decide; thin: fixed.")
    if view.probabilities:
        notes.append("Open edges show their leading candidate; width and opacity are its probability.")
    if any(edge["pre"] or edge["post"] for edge in edges):
        notes.append("Labels read downwards in the order of computation; ↓2 halves height and width, ↑2 doubles them.")
    notes.append("Pills come from elsewhere. A bold outline leaves the cell, the boldest is an output of the network.")
    lists = sorted(set(view.genotype.open_edges().values()))
    notes += [f"{len(candidates)} candidates: {', '.join(candidates)}." for candidates in lists[:3]]
    return tuple(notes)
