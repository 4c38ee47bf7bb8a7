"""Every check of one cell's nodes and edges: names, sources, cycles, words, widths, strides and sizes.

Errors carry places such as ("nodes", 2, "edges", 0, "op"), as the nodes stand in a literal (`graph`) cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import networkx

from genotypes import vocabulary
from genotypes._checks import at, show
from genotypes.elements import Edge, Feature, Node, Size
from genotypes.errors import GenotypeError

__all__ = ["check_nodes", "check_operation", "cycle_in"]

_LARGEST = 1_000_000  # channels, or pixels of stride: no network is built with more


def check_nodes(nodes: Sequence[Node], inputs: Mapping[str, Feature]) -> list[Node]:
    """The nodes in an order in which they can be computed, with the sizes and widths that were left out."""
    features = dict(inputs)
    place = {node.name: ("nodes", index) for index, node in enumerate(nodes)}
    checked = []
    for node in _in_order(nodes, inputs):
        checked.append(at(place[node.name], _check_node, node, features))
        features[node.name] = Feature(node.name, node.stride, node.width)
    return checked


def check_operation(op: Any) -> None:
    """Accept a known operation or a tuple of different known candidates; GenotypeError otherwise."""
    for candidate in op if isinstance(op, tuple) else (op,):
        vocabulary.look_up(vocabulary.OPERATIONS, "operation", candidate)
    if isinstance(op, tuple) and (len(op) < 2 or len(set(op)) < len(op)):
        raise GenotypeError(f"an open edge needs two or more different candidates, not {show(op)}")


def cycle_in(graph: networkx.DiGraph) -> list[Any]:
    """The nodes of some cycle, the first of them again at the end."""
    edges = networkx.find_cycle(graph)
    return [u for u, _ in edges] + [edges[0][0]]


def _in_order(nodes: Sequence[Node], inputs: Mapping[str, Feature]) -> list[Node]:
    """Nodes after their sources; as given where that is possible."""
    rank: dict[str, int] = {}
    for index, node in enumerate(nodes):
        if node.name in inputs or node.name in rank:
            raise GenotypeError(f"the name {node.name!r} is taken", ("nodes", index, "name"))
        rank[node.name] = index
    known = [*inputs, *rank]
    order = networkx.DiGraph()
    order.add_nodes_from(rank)
    for index, node in enumerate(nodes):
        if not node.edges:
            raise GenotypeError(f"node {node.name!r} has no incoming edge", ("nodes", index, "edges"))
        sources = {("edges", number, "source"): edge.source for number, edge in enumerate(node.edges)}
        if node.size is not None:
            sources["size",] = node.size.of
        for place, source in sources.items():
            if source in rank:
                order.add_edge(source, node.name)
            elif source not in inputs:
                message = f"node {node.name!r}: missing source {show(source)}; the cell has: {', '.join(known)}"
                raise GenotypeError(message, ("nodes", index, *place))
    try:
        names = list(networkx.lexicographical_topological_sort(order, key=rank.__getitem__))
    except networkx.NetworkXUnfeasible:
        cycle = cycle_in(order)
        raise GenotypeError(f"cycle: {' -> '.join(cycle)}", ("nodes", rank[cycle[0]])) from None
    return [nodes[rank[name]] for name in names]


def _check_node(node: Node, features: Mapping[str, Feature]) -> Node:
    where = f"node {node.name!r}"
    if node.combine not in ("sum", "concat"):
        raise GenotypeError(f"{where}: unknown combine {show(node.combine)}; known: sum, concat", ("combine",))
    if node.post not in vocabulary.POSTS:
        known = ", ".join(vocabulary.POSTS)
        raise GenotypeError(f"{where}: unknown post {show(node.post)}; known: {known}", ("post",))
    _check_count(where, "stride", node.stride)
    _check_count(where, "width", node.width)
    if node.post.startswith("gn32") and node.width % 32:
        raise GenotypeError(f"{where}: {node.post} needs a width that 32 divides, not {node.width}", ("width",))
    edges = []
    for index, edge in enumerate(node.edges):
        edges.append(at(("edges", index), _check_edge, edge, node, features[edge.source]))
    widths = [edge.width for edge in edges]
    if node.combine == "concat" and sum(widths) != node.width:
        total = f"{' + '.join(map(str, widths))} = {sum(widths)}"
        raise GenotypeError(f"{where}: width mismatch: it has {node.width} channels, {total} arrive", ("width",))
    return replace(node, edges=tuple(edges), size=_check_size(where, node, features))


def _check_count(where: str, label: str, value: Any) -> None:
    if type(value) is not int or not 0 < value < _LARGEST:
        raise GenotypeError(f"{where}: {label} must be a positive integer, not {show(value)}", (label,))


def _check_edge(edge: Edge, node: Node, source: Feature) -> Edge:
    where = f"edge {edge.name!r} ({source.name} -> {node.name})"
    try:
        check_operation(edge.op)
    except GenotypeError as error:
        raise GenotypeError(f"{where}: {error.message}", ("op",)) from None
    width = edge.width
    if width is None:
        width = node.width if node.combine == "sum" else source.width
    _check_count(where, "width", width)
    if node.combine == "sum" and width != node.width:
        message = f"{where}: width mismatch: {width} channels arrive at a sum of {node.width}"
        raise GenotypeError(message, ("width",))
    for op in edge.op if edge.is_open else (edge.op,):
        if vocabulary.OPERATIONS[op].widths == "same" and source.width != width:
            message = f"{where}: width mismatch: {op} keeps {source.width} channels, {width} are needed"
            raise GenotypeError(message, ("op",))
    stride = source.stride
    for key, steps in (("pre", edge.pre), ("post", edge.post)):
        for step in steps:
            if not isinstance(step, str) or step not in vocabulary.RESAMPLES:
                known = ", ".join(vocabulary.RESAMPLES)
                raise GenotypeError(f"{where}: unknown resampling {show(step)}; known: {known}", (key,))
            factor = vocabulary.RESAMPLES[step]
            stride = node.stride if factor is None else stride * factor
    if stride != node.stride:
        steps = ", ".join((*edge.pre, *edge.post)) or "no resampling"
        raise GenotypeError(
            f"{where}: stride mismatch: {source.name} has stride {source.stride}, with {steps} it arrives at "
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
