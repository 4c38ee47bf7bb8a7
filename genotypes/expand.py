"""Expansion of a genotype to its flat graph, and the checks of how its cells are connected.

The flat graph is a frozen networkx.MultiDiGraph. Nodes are features: "image" (stride 1, 3 channels), backbone
taps ("s4") and cell nodes ("cell.node"), with the attributes kind ("image", "backbone", "cell"), cell, stride,
width, combine, post, size. Edges are keyed by their name, with the attributes id ("cell.edge"), op (a name, or a
tuple of candidates), pre, post, width, choice. Edges into a node keep their order (attribute `order`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import networkx

from genotypes import vocabulary
from genotypes._checks import at, freeze, show
from genotypes.elements import Edge, Feature, Node, Size
from genotypes.errors import GenotypeError
from genotypes.templates import build_template
from genotypes.validate import check_nodes, cycle_in
from genotypes.widths import find_open_widths, largest_widths

if TYPE_CHECKING:
    from genotypes.schema import Cell, Genotype

__all__ = ["canonical", "expand", "incoming"]

IMAGE = Feature("image", 1, 3)


def expand(genotype: "Genotype") -> networkx.MultiDiGraph:
    """The flat graph of a genotype; GenotypeError, with the place, for anything that is not a network."""
    graph = networkx.MultiDiGraph(name=genotype.name)
    graph.add_node(IMAGE.name, kind="image", cell=None, stride=IMAGE.stride, width=IMAGE.width)
    if genotype.backbone is not None:
        word = vocabulary.BACKBONES[genotype.backbone.name]
        for tap in genotype.backbone.taps:
            info = word.feature(tap)
            graph.add_node(tap, kind="backbone", cell=None, stride=info.stride, width=info.channels)
    for index in _cell_order(genotype.cells, graph):
        at(("cells", index), _add_cell, graph, genotype.cells[index])
    _check_outputs(graph, genotype)
    return networkx.freeze(graph)


def incoming(graph: networkx.MultiDiGraph, node: str) -> list[dict[str, Any]]:
    """Attributes of the edges into `node`, each with its `source` and `name`, in their order."""
    edges = [data | {"source": u, "name": key} for u, _, key, data in graph.in_edges(node, keys=True, data=True)]
    return sorted(edges, key=lambda edge: edge["order"])


def canonical(graph: networkx.MultiDiGraph) -> dict[str, Any]:
    """The graph as plain data in one fixed order: what a genotype's hash is made of."""
    nodes = {}
    for name, node in graph.nodes(data=True):
        if node["kind"] == "cell":
            keys = ("id", "source", "op", "pre", "post", "width")
            edges = [[edge[key] for key in keys] for edge in incoming(graph, name)]
            shape = [node["stride"], node["width"], node["combine"], node["post"]]
            nodes[name] = [*shape, node["size"].rule, node["size"].of, edges]
    return nodes


def _cell_order(cells: Sequence["Cell"], graph: networkx.MultiDiGraph) -> list[int]:
    """Cells in an order in which each comes after those it reads; the document's own order where it can be."""
    rank: dict[str, int] = {}
    for index, cell in enumerate(cells):
        if cell.name in rank or cell.name in graph:
            raise GenotypeError(f"the name {cell.name!r} is taken", ("cells", index, "name"))
        rank[cell.name] = index
    needs = networkx.DiGraph()
    needs.add_nodes_from(range(len(cells)))
    for index, cell in enumerate(cells):
        for alias, reference in cell.inputs.items():
            source = reference.split(".")[0]
            if source in rank:
                needs.add_edge(rank[source], index)
            elif reference not in graph:
                known = ", ".join([*graph, *rank])
                message = f"missing source {reference!r}; features and cells that exist: {known}"
                raise GenotypeError(message, ("cells", index, "inputs", alias))
    try:
        return list(networkx.lexicographical_topological_sort(needs))
    except networkx.NetworkXUnfeasible:
        cycle = cycle_in(needs)
        message = f"cycle: {' -> '.join(cells[index].name for index in cycle)}"
        raise GenotypeError(message, ("cells", cycle[0])) from None


def _add_cell(graph: networkx.MultiDiGraph, cell: "Cell") -> None:
    features = {}
    for alias, reference in cell.inputs.items():
        if reference not in graph:
            known = ", ".join(name for name in graph if name.startswith(reference.split(".")[0] + "."))
            raise GenotypeError(f"missing source {reference!r}; that cell has: {known}", ("inputs", alias))
        features[alias] = Feature(alias, graph.nodes[reference]["stride"], graph.nodes[reference]["width"])
    find_open_widths(cell.params)  # refuses bad candidates before a template sees the largest
    params = freeze(largest_widths(cell.params))
    nodes = _assign_operations(build_template(cell.template, features, params), cell)
    try:
        nodes = check_nodes(nodes, features)
    except GenotypeError as error:
        # The nodes of other templates do not stand in the document: the nearest place is the cell.
        raise error if cell.template == "graph" else GenotypeError(error.message) from None
    names = dict(cell.inputs)
    for node in nodes:
        full = f"{cell.name}.{node.name}"
        size = Size(node.size.rule, names[node.size.of])
        shape = {"stride": node.stride, "width": node.width, "combine": node.combine, "post": node.post}
        graph.add_node(full, kind="cell", cell=cell.name, size=size, **shape)
        for order, edge in enumerate(node.edges):
            attributes = {"op": edge.op, "pre": edge.pre, "post": edge.post, "choice": edge.choice}
            identity = {"id": f"{cell.name}.{edge.name}", "order": order, "width": edge.width}
            graph.add_edge(names[edge.source], full, key=edge.name, **identity, **attributes)
        names[node.name] = full


def _assign_operations(nodes: Sequence[Node], cell: "Cell") -> list[Node]:
    """Give every edge its operation: the cell's own word, else its candidates (choice edges), else the default."""
    names = Counter(edge.name for node in nodes for edge in node.edges)
    for name, count in names.items():
        if count > 1:
            raise GenotypeError(f"two edges are called {name!r}; an edge's name is unique in its cell")
    for name in cell.operations:
        if name not in names:
            raise GenotypeError(f"there is no edge {name!r}; edges: {', '.join(names)}", ("operations", name))
    if cell.candidates and not any(edge.choice for node in nodes for edge in node.edges):
        message = f"template {cell.template} has no edge that candidates open; open edges one by one under `operations`"
        raise GenotypeError(message, ("candidates",))

    def assign(edge: Edge) -> Edge:
        op = cell.operations.get(edge.name) or (cell.candidates if edge.choice else ()) or edge.op
        if not op:
            message = f"edge {edge.name!r} has no operation: name it under `operations`, or give `candidates`"
            raise GenotypeError(message)
        return replace(edge, op=op)

    return [replace(node, edges=tuple(map(assign, node.edges))) for node in nodes]


def _check_outputs(graph: networkx.MultiDiGraph, genotype: "Genotype") -> None:
    outputs = genotype.outputs
    if not outputs or len(set(outputs)) < len(outputs):
        raise GenotypeError(f"expected different features, at least one, not {show(outputs)}", ("outputs",))
    useful: set[str] = set()
    for index, output in enumerate(outputs):
        if output not in graph or graph.nodes[output]["kind"] != "cell":
            known = ", ".join(name for name, node in graph.nodes(data=True) if node["kind"] == "cell")
            raise GenotypeError(f"unreachable output {output!r}; cell nodes: {known}", ("outputs", index))
        width = graph.nodes[output]["width"]
        if width != 1:
            raise GenotypeError(f"output {output!r} must have one channel (logits), not {width}", ("outputs", index))
        useful |= networkx.ancestors(graph, output) | {output}
    dead = [name for name, node in graph.nodes(data=True) if node["kind"] != "image" and name not in useful]
    if dead:
        cell = graph.nodes[dead[0]]["cell"]
        place = ("cells", [cell.name for cell in genotype.cells].index(cell)) if cell else ("backbone", "taps")
        raise GenotypeError(f"no output is reached from {', '.join(dead)}: remove what is unused", place)
