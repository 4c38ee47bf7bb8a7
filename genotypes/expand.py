"""Expansion of a genotype to its flat graph, and every check of shapes and connections on the way.

The flat graph is a frozen networkx.MultiDiGraph. Nodes are features: "image" (stride 1, 3 channels), backbone
taps ("s4") and cell nodes ("cell.node"), with the attributes kind ("image", "backbone", "cell"), cell, stride,
width, combine, post, size. Edges are keyed by their name, with the attributes id ("cell.edge"), op (a name, or a
tuple of candidates), pre, post, width, choice. Edges into a node keep their order (attribute `order`).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import networkx

from genotypes import vocabulary
from genotypes._checks import at
from genotypes.elements import Edge, Feature, Node, Size
from genotypes.errors import GenotypeError
from genotypes.templates import build_template

if TYPE_CHECKING:
    from genotypes.schema import Cell, Genotype

__all__ = ["canonical", "check_operation", "expand", "incoming"]

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
    _check_outputs(graph, genotype.outputs)
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


def check_operation(op: Any) -> None:
    """Accept a known operation or a tuple of distinct known candidates; GenotypeError otherwise."""
    for candidate in op if isinstance(op, tuple) else (op,):
        vocabulary.look_up(vocabulary.OPERATIONS, "operation", candidate)
    if isinstance(op, tuple) and (len(op) < 2 or len(set(op)) < len(op)):
        raise GenotypeError(f"an open edge needs two or more different candidates, not {list(op)}")


def _cell_order(cells: Sequence["Cell"], graph: networkx.MultiDiGraph) -> list[int]:
    """Cells in an order in which each comes after those it reads; the document's own order where it can be."""
    names = [cell.name for cell in cells]
    needs = networkx.DiGraph()
    needs.add_nodes_from(range(len(cells)))
    for index, cell in enumerate(cells):
        if names.index(cell.name) < index or cell.name in graph:
            raise GenotypeError(f"the name {cell.name!r} is taken", ("cells", index, "name"))
        for alias, reference in cell.inputs.items():
            source = reference.split(".")[0]
            if source in names:
                needs.add_edge(names.index(source), index)
            elif reference not in graph:
                known = ", ".join([*graph, *names])
                message = f"missing source {reference!r}; features and cells that exist: {known}"
                raise GenotypeError(message, ("cells", index, "inputs", alias))
    try:
        return list(networkx.lexicographical_topological_sort(needs))
    except networkx.NetworkXUnfeasible:
        cycle = " -> ".join(names[u] for u, _ in networkx.find_cycle(needs))
        raise GenotypeError(f"cycle: {cycle} -> back to the first", ("cells",)) from None


def _add_cell(graph: networkx.MultiDiGraph, cell: "Cell") -> None:
    features = {}
    for alias, reference in cell.inputs.items():
        if reference not in graph:
            known = ", ".join(name for name in graph if name.startswith(reference.split(".")[0] + "."))
            raise GenotypeError(f"missing source {reference!r}; that cell has: {known}", ("inputs", alias))
        features[alias] = Feature(alias, graph.nodes[reference]["stride"], graph.nodes[reference]["width"])
    nodes = build_template(cell.template, features, cell.params)
    nodes = _assign_operations(nodes, cell)
    names = {alias: cell.inputs[alias] for alias in features}
    for node in _node_order(nodes, features):
        _check_node(node, features)
        size = node.size or _default_size(node, features)
        if size.of not in features or features[size.of].stride * Size.RULES[size.rule] != node.stride:
            known = ", ".join(f"{feature.name} (stride {feature.stride})" for feature in features.values())
            raise GenotypeError(
                f"node {node.name!r}: size {size.rule} {size.of!r} does not give stride {node.stride}; known: {known}"
            )
        full = f"{cell.name}.{node.name}"
        size = Size(size.rule, names[size.of])
        shape = {"stride": node.stride, "width": node.width, "combine": node.combine, "post": node.post}
        graph.add_node(full, kind="cell", cell=cell.name, size=size, **shape)
        for order, edge in enumerate(node.edges):
            attributes = {"op": edge.op, "pre": edge.pre, "post": edge.post, "choice": edge.choice}
            width = _edge_width(edge, node, features)
            identity = {"id": f"{cell.name}.{edge.name}", "order": order, "width": width}
            graph.add_edge(names[edge.source], full, key=edge.name, **identity, **attributes)
        names[node.name] = full
        features[node.name] = Feature(node.name, node.stride, node.width)


def _assign_operations(nodes: Sequence[Node], cell: "Cell") -> list[Node]:
    """Give every edge its operation: the cell's own word, else its candidates (choice edges), else the default."""
    edges = [edge for node in nodes for edge in node.edges]
    names = [edge.name for edge in edges]
    for name in names:
        if names.count(name) > 1:
            raise GenotypeError(f"two edges are called {name!r}; an edge's name is unique in its cell")
    for name in cell.operations:
        if name not in names:
            raise GenotypeError(f"there is no edge {name!r}; edges: {', '.join(names)}", ("operations", name))

    def assign(edge: Edge) -> Edge:
        op = cell.operations.get(edge.name) or (cell.candidates if edge.choice else ()) or edge.op
        if not op:
            raise GenotypeError(
                f"edge {edge.name!r} has no operation: name it under `operations`, or give `candidates`"
            )
        return Edge(**{key: getattr(edge, key) for key in edge.__dataclass_fields__} | {"op": op})

    return [
        Node(
            **{key: getattr(node, key) for key in node.__dataclass_fields__} | {"edges": tuple(map(assign, node.edges))}
        )
        for node in nodes
    ]


def _node_order(nodes: Sequence[Node], features: Mapping[str, Feature]) -> list[Node]:
    table = {node.name: node for node in nodes}
    if len(table) < len(nodes) or table.keys() & features.keys():
        names = ", ".join([*features, *(node.name for node in nodes)])
        raise GenotypeError(f"two features of the cell share a name: {names}")
    order = networkx.DiGraph()
    order.add_nodes_from(table)
    for node in nodes:
        if not node.edges:
            raise GenotypeError(f"node {node.name!r} has no incoming edge")
        sources = [edge.source for edge in node.edges] + ([node.size.of] if node.size else [])
        for source in sources:
            if source in table:
                order.add_edge(source, node.name)
            elif source not in features:
                known = ", ".join([*features, *table])
                raise GenotypeError(f"node {node.name!r}: missing source {source!r}; known: {known}")
    rank = {name: index for index, name in enumerate(table)}
    try:
        return [table[name] for name in networkx.lexicographical_topological_sort(order, key=rank.__getitem__)]
    except networkx.NetworkXUnfeasible:
        cycle = " -> ".join(u for u, _ in networkx.find_cycle(order))
        raise GenotypeError(f"cycle: {cycle} -> back to the first") from None


def _default_size(node: Node, features: Mapping[str, Feature]) -> Size:
    for edge in node.edges:
        if not edge.pre and not edge.post and features[edge.source].stride == node.stride:
            return Size("like", edge.source)
    raise GenotypeError(f"node {node.name!r}: say its size (size: {{like: FEATURE}}); every edge into it resamples")


def _edge_width(edge: Edge, node: Node, features: Mapping[str, Feature]) -> int:
    if node.combine == "sum":
        return node.width
    return edge.width if edge.width is not None else features[edge.source].width


def _check_node(node: Node, features: Mapping[str, Feature]) -> None:
    where = f"node {node.name!r}"
    if node.combine not in ("sum", "concat"):
        raise GenotypeError(f"{where}: unknown combine {node.combine!r}; known: sum, concat")
    if node.post not in vocabulary.POSTS:
        raise GenotypeError(f"{where}: unknown post {node.post!r}; known: {', '.join(vocabulary.POSTS)}")
    for label, value in (("stride", node.stride), ("width", node.width)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise GenotypeError(f"{where}: {label} must be a positive integer, not {value!r}")
    if node.post.startswith("gn32") and node.width % 32:
        raise GenotypeError(f"{where}: post {node.post} needs a width that 32 divides, not {node.width}")
    for edge in node.edges:
        _check_edge(edge, node, features[edge.source], _edge_width(edge, node, features))
    widths = [_edge_width(edge, node, features) for edge in node.edges]
    if node.combine == "concat" and sum(widths) != node.width:
        raise GenotypeError(
            f"{where}: width mismatch: {' + '.join(map(str, widths))} channels arrive, it has {node.width}"
        )


def _check_edge(edge: Edge, node: Node, source: Feature, width: int) -> None:
    where = f"edge {edge.name!r} ({source.name} -> {node.name})"
    if edge.op == "":
        raise GenotypeError(f"{where} has no operation")
    try:
        check_operation(edge.op)
    except GenotypeError as error:
        raise GenotypeError(f"{where}: {error.message}") from None
    for op in edge.op if edge.is_open else (edge.op,):
        if vocabulary.OPERATIONS[op].widths == "same" and source.width != width:
            raise GenotypeError(f"{where}: width mismatch: {op} keeps {source.width} channels, {width} are needed")
    stride = source.stride
    for step in (*edge.pre, *edge.post):
        if step not in vocabulary.RESAMPLES:
            known = ", ".join(vocabulary.RESAMPLES)
            raise GenotypeError(f"{where}: unknown resampling {step!r}; known: {known}")
        factor = vocabulary.RESAMPLES[step]
        stride = node.stride if factor is None else stride * factor
    if stride != node.stride:
        steps = ", ".join((*edge.pre, *edge.post)) or "no resampling"
        raise GenotypeError(
            f"{where}: stride mismatch: {source.name} has stride {source.stride}, with {steps} it arrives at "
            f"{stride}, {node.name} has {node.stride}"
        )


def _check_outputs(graph: networkx.MultiDiGraph, outputs: tuple[str, ...]) -> None:
    if not outputs or len(set(outputs)) < len(outputs):
        raise GenotypeError(f"expected different features, at least one, not {list(outputs)}", ("outputs",))
    useful: set[str] = set()
    for index, output in enumerate(outputs):
        if output not in graph or graph.nodes[output]["kind"] != "cell":
            known = ", ".join(name for name, node in graph.nodes(data=True) if node["kind"] == "cell")
            raise GenotypeError(f"unreachable output {output!r}; cell nodes: {known}", ("outputs", index))
        if graph.nodes[output]["width"] != 1:
            width = graph.nodes[output]["width"]
            raise GenotypeError(f"output {output!r} must have one channel (logits), it has {width}", ("outputs", index))
        useful |= networkx.ancestors(graph, output) | {output}
    dead = [name for name, node in graph.nodes(data=True) if node["kind"] == "cell" and name not in useful]
    if dead:
        raise GenotypeError(f"no output is reached from {', '.join(dead)}: remove what is not used", ("cells",))
