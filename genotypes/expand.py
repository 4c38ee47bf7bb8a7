"""From cells to the flat graph: templates make nodes, every word, width, stride and size is checked on the way.

A graph that comes out of here describes a network that can be built. Errors carry places such as
("cells", 1, "nodes", 2, "edges", 0, "op"), as they stand in the document.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import networkx

from genotypes._checks import at, freeze, show
from genotypes._open_values import find_widths, largest_widths
from genotypes.errors import GenotypeError, plural
from genotypes.graph import Edge, Graph, Node, Size
from genotypes.parts import Backbone, Cell, check_operation
from genotypes.templates import build_template
from genotypes.vocabulary import BACKBONES, OPERATIONS, POSTS, RESAMPLINGS, Feature

T = TypeVar("T")

__all__ = ["expand"]

_LARGEST = 1_000_000  # channels, or pixels of stride: no network is built with more


def expand(backbone: Backbone | None, cells: Sequence[Cell], outputs: tuple[str, ...]) -> Graph:
    """The flat graph of a genotype's parts; GenotypeError, with the place, for anything that is not a network."""
    nodes = {"image": Node(name="image", stride=1, width=3, kind="image")}
    if backbone is not None:
        for tap in backbone.taps:
            feature = BACKBONES[backbone.name].feature(tap)
            nodes[tap] = Node(name=tap, stride=feature.stride, width=feature.width, kind="backbone")
    for index in _cell_order(cells, nodes):
        nodes |= at(("cells", index), _expand_cell, nodes, cells[index])
    graph = Graph(nodes, outputs)
    _check_outputs(graph, cells)
    return graph


def _cell_order(cells: Sequence[Cell], known: Mapping[str, Node]) -> list[int]:
    """Cells in an order in which each comes after those it reads; the document's own order where it can be."""
    rank = _rank("cells", [cell.name for cell in cells], known)
    needs = []
    for index, cell in enumerate(cells):
        for alias, reference in cell.inputs.items():
            source = reference.split(".")[0]
            if source in rank:
                needs.append((rank[source], index))
            elif reference not in known:
                names = ", ".join([*known, *rank])
                message = f"missing source {reference!r}; features and cells that exist: {names}"
                raise GenotypeError(message, ("cells", index, "inputs", alias))
    return _in_order("cells", list(rank), needs)


def _rank(kind: str, names: Sequence[str], taken: Container[str]) -> dict[str, int]:
    """Name -> its place in the document's list of cells or nodes; GenotypeError for one that is taken."""
    rank: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in rank or name in taken:
            raise GenotypeError(f"the name {name!r} is taken", (kind, index, "name"))
        rank[name] = index
    return rank


def _in_order(kind: str, names: Sequence[str], needs: Iterable[tuple[int, int]]) -> list[int]:
    """The places of all names, the first of each pair before the second; as given where that is possible."""
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(len(names)))
    graph.add_edges_from(needs)
    try:
        return list(networkx.lexicographical_topological_sort(graph))
    except networkx.NetworkXUnfeasible:
        edges = networkx.find_cycle(graph)
        cycle = [edge[0] for edge in (*edges, edges[0])]
        message = f"cycle: {' -> '.join(names[index] for index in cycle)}"
        raise GenotypeError(message, (kind, cycle[0])) from None


def _expand_cell(known: Mapping[str, Node], cell: Cell) -> dict[str, Node]:
    """Full name -> node of a cell; known: the nodes before it."""
    features = {}
    for alias, reference in cell.inputs.items():
        if reference not in known:
            there = ", ".join(name for name in known if name.startswith(reference.split(".")[0] + "."))
            raise GenotypeError(f"missing source {reference!r}; that cell has: {there}", ("inputs", alias))
        features[alias] = Feature(alias, known[reference].stride, known[reference].width)
    find_widths(cell.params)  # refuses bad candidates before a template sees the largest
    params = freeze(largest_widths(cell.params))
    nodes = _assign_operations(build_template(cell.template, features, params), cell)
    try:
        nodes = _check_nodes(nodes, features)
    except GenotypeError as error:
        # The nodes of other templates do not stand in the document: the nearest place is the cell.
        raise error if cell.template == "graph" else GenotypeError(error.message) from None
    names = dict(cell.inputs) | {node.name: f"{cell.name}.{node.name}" for node in nodes}

    def complete(node: Node) -> Node:
        edges = tuple(replace(edge, id=f"{cell.name}.{edge.name}", source=names[edge.source]) for edge in node.edges)
        assert node.size is not None  # checked nodes have one
        size = Size(node.size.rule, names[node.size.of])
        return replace(node, name=names[node.name], cell=cell.name, edges=edges, size=size)

    return {names[node.name]: complete(node) for node in nodes}


def _assign_operations(nodes: Sequence[Node], cell: Cell) -> list[Node]:
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


def _check_outputs(graph: Graph, cells: Sequence[Cell]) -> None:
    outputs = graph.outputs
    if not outputs or len(set(outputs)) < len(outputs):
        raise GenotypeError(f"expected different features, at least one, not {show(outputs)}", ("outputs",))
    cell_nodes = [name for name, node in graph.nodes.items() if node.kind == "cell"]
    for index, output in enumerate(outputs):
        if output not in cell_nodes:
            known = ", ".join(cell_nodes)
            raise GenotypeError(f"unreachable output {output!r}; cell nodes: {known}", ("outputs", index))
        width = graph[output].width
        if width != 1:
            raise GenotypeError(f"output {output!r} must have one channel (logits), not {width}", ("outputs", index))
    read = networkx.DiGraph([(edge.source, node.name) for node in graph.nodes.values() for edge in node.edges])
    useful = set(outputs).union(*(networkx.ancestors(read, output) for output in outputs))
    dead = [node for name, node in graph.nodes.items() if node.kind != "image" and name not in useful]
    if dead:
        order = [cell.name for cell in cells]
        place = ("cells", order.index(dead[0].cell)) if dead[0].cell else ("backbone", "taps")
        names = ", ".join(node.name for node in dead)
        raise GenotypeError(f"no output is reached from {names}: remove what is unused", place)


def _check_nodes(nodes: Sequence[Node], inputs: Mapping[str, Feature]) -> list[Node]:
    """The nodes in an order in which they can be computed, with the sizes and widths that were left out."""
    features = dict(inputs)
    place = {node.name: ("nodes", index) for index, node in enumerate(nodes)}
    checked = []
    for node in _nodes_in_order(nodes, inputs):
        checked.append(at(place[node.name], _check_node, node, features))
        features[node.name] = Feature(node.name, node.stride, node.width)
    return checked


def _nodes_in_order(nodes: Sequence[Node], inputs: Mapping[str, Feature]) -> list[Node]:
    """Nodes after their sources; as given where that is possible."""
    rank = _rank("nodes", [node.name for node in nodes], inputs)
    known, needs = [*inputs, *rank], []
    for index, node in enumerate(nodes):
        if not node.edges:
            raise GenotypeError(f"node {node.name!r} has no incoming edge", ("nodes", index, "edges"))
        sources: dict[tuple[str | int, ...], str]
        sources = {("edges", number, "source"): edge.source for number, edge in enumerate(node.edges)}
        if node.size is not None:
            sources["size",] = node.size.of
        for place, source in sources.items():
            if source in rank:
                needs.append((rank[source], index))
            elif source not in inputs:
                message = f"node {node.name!r}: missing source {show(source)}; the cell has: {', '.join(known)}"
                raise GenotypeError(message, ("nodes", index, *place))
    return [nodes[index] for index in _in_order("nodes", list(rank), needs)]


def _check_node(node: Node, features: Mapping[str, Feature]) -> Node:
    where = f"node {node.name!r}"
    if node.combine not in ("sum", "concat"):
        raise GenotypeError(f"{where}: unknown combine {show(node.combine)}; known: sum, concat", ("combine",))
    _check_count(where, "stride", node.stride)
    _check_count(where, "width", node.width)
    divisor = at(("post",), _within, where, POSTS.__getitem__, node.post).divisor
    if node.width % divisor:
        raise GenotypeError(f"{where}: {node.post} needs a width that {divisor} divides, not {node.width}", ("width",))
    edges = []
    for index, edge in enumerate(node.edges):
        edges.append(at(("edges", index), _check_edge, edge, node, features[edge.source]))
    widths = [edge.width or 0 for edge in edges]
    if node.combine == "concat" and sum(widths) != node.width:
        total = f"{' + '.join(map(str, widths))} = {sum(widths)}"
        message = f"{where}: width mismatch: it has {plural(node.width, 'channel')}, {total} arrive"
        raise GenotypeError(message, ("width",))
    return replace(node, edges=tuple(edges), size=_check_size(where, node, features))


def _check_count(where: str, label: str, value: Any) -> None:
    if type(value) is not int or not 0 < value < _LARGEST:
        wanted = f"less than {_LARGEST:,}" if type(value) is int and value > 0 else "a positive integer"
        raise GenotypeError(f"{where}: {label} must be {wanted}, not {show(value)}", (label,))


def _check_edge(edge: Edge, node: Node, source: Feature) -> Edge:
    where = f"edge {edge.name!r} ({source.name} -> {node.name})"
    at(("op",), _within, where, check_operation, edge.op)
    width = edge.width
    if width is None:
        width = node.width if node.combine == "sum" else source.width
    _check_count(where, "width", width)
    if node.combine == "sum" and width != node.width:
        message = f"{where}: width mismatch: {plural(width, 'channel')} at a sum of {node.width}"
        raise GenotypeError(message, ("width",))
    for op in edge.candidates:
        if OPERATIONS[op].widths == "same" and source.width != width:
            message = f"{where}: width mismatch: {op} keeps {plural(source.width, 'channel')}, {width} needed"
            raise GenotypeError(message, ("op",))
    stride = source.stride
    for key, steps in (("pre", edge.pre), ("post", edge.post)):
        for step in steps:
            factor = at((key,), _within, where, RESAMPLINGS.__getitem__, step).factor
            stride = node.stride if factor is None else stride * factor
    if stride != node.stride:
        way = ", ".join((*edge.pre, *edge.post)) or "no resampling"
        raise GenotypeError(
            f"{where}: stride mismatch: {source.name} has stride {source.stride}, with {way} it arrives at "
            f"{stride}, {node.name} has {node.stride}"
        )
    return replace(edge, width=width)


def _check_size(where: str, node: Node, features: Mapping[str, Feature]) -> Size:
    """The node's size; left out, that of the first source that arrives without resampling."""
    size = node.size
    if size is None:
        plain = [edge.source for edge in node.edges if not edge.pre and not edge.post]
        if not plain:
            raise GenotypeError(f"{where}: every edge into it resamples; say its size (size: {{like: FEATURE}})")
        size = Size("like", plain[0])
    source = features[size.of]
    if source.stride * Size.RULES[size.rule] != node.stride:
        message = f"{where}: stride mismatch: {size.rule} {size.of} (stride {source.stride})"
        raise GenotypeError(f"{message} does not give its stride {node.stride}", ("size",))
    return size


def _within(where: str, check: Callable[[Any], T], value: Any) -> T:
    """`check(value)`, with errors that say where."""
    try:
        return check(value)
    except GenotypeError as error:
        raise GenotypeError(f"{where}: {error.message}") from None
