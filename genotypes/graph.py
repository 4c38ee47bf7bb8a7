"""The flat graph of a network: nodes, the edges into them, and the questions one asks of it. Plain immutable data.

Templates make nodes and edges with names of their own cell; the graph holds the same, completed: full names, widths and
sizes that were left out, and where each belongs.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

from genotypes.errors import GenotypeError
from genotypes.vocabulary import OPERATIONS

__all__ = ["Edge", "Graph", "Node", "Size"]


@dataclass(frozen=True)
class Size:
    """Height and width of a node on inputs of any size, said through another feature.

    rule: "like" (the same), "floor_half" or "ceil_half" (half of it; the papers differ in the rounding).
    RULES: rule -> this node's stride over that of `of`.
    """

    RULES: ClassVar[Mapping[str, int]] = MappingProxyType({"like": 1, "floor_half": 2, "ceil_half": 2})

    rule: str
    of: str

    def apply(self, height: int, width: int) -> tuple[int, int]:
        """The node's (H, W), where `of` has this height and width; at least one pixel."""
        if self.rule == "like":
            return height, width
        extra = 1 if self.rule == "ceil_half" else 0
        return max(1, (height + extra) // 2), max(1, (width + extra) // 2)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """source --[pre; op; post]--> the node that holds the edge.

    op: an operation (decided) or a tuple of candidates (open).
    pre, post: resampling steps before and after the operation; order matters, so it is written down.
    width: channels the edge delivers; None, only in a template, stands for the node's width (sum) or the source's
    (concat).
    choice: whether a cell's `candidates` open this edge. `op` is then the default, or "" where there is none.
    id: "cell.edge", in a graph. name: within the cell.
    """

    name: str
    source: str
    op: str | tuple[str, ...] = "skip_connect"
    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    width: int | None = None
    choice: bool = False
    id: str = ""

    @property
    def is_open(self) -> bool:
        return isinstance(self.op, tuple)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The operations the edge may have; one where it is decided."""
        return self.op if isinstance(self.op, tuple) else (self.op,)

    def carries(self, choices: Mapping[str, Any] = MappingProxyType({})) -> bool:
        """Whether anything of the source can get through, once these choices are made: not over `none` alone."""
        ops = (choices[self.id],) if self.id in choices else self.candidates
        return any(not OPERATIONS[op].zero for op in ops)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A feature map: how wide, at which stride and size, and how its incoming edges are combined.

    combine: "sum" or "concat" (in the order of the edges); post: a word of `vocabulary.POSTS`.
    size: None, only in a template, stands for "like the first source that arrives without resampling".
    In a graph: name is "cell.node", "image" or a backbone's tap; kind "cell", "image" or "backbone"; cell the cell's
    name, "" for image and taps, which have no edges.
    """

    name: str
    stride: int
    width: int
    edges: tuple[Edge, ...] = ()
    combine: str = "sum"
    post: str = "none"
    size: Size | None = None
    kind: str = "cell"
    cell: str = ""

    @property
    def local(self) -> str:
        """The name within the cell."""
        return self.name.split(".", 1)[-1]


class Graph:
    """The features of a network in the order in which they are computed, and the edges between them.

    nodes: by full name: "image", the backbone's taps, then the cells' nodes.

    >>> import genotypes
    >>> graph = genotypes.load("fpn_tiny").graph
    >>> [edge.id for edge in graph.incoming("pyramid.m_f16")]
    ['pyramid.in_f16', 'pyramid.down_f16']
    >>> graph["pyramid.m_f16"].stride, graph.operations()["pyramid.smooth_f4"], graph.open
    (16, 'conv2d_3x3_bias', {})
    """

    def __init__(self, nodes: Mapping[str, Node], outputs: tuple[str, ...]) -> None:
        self.nodes: Mapping[str, Node] = MappingProxyType(dict(nodes))
        self.outputs = outputs

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def __contains__(self, name: object) -> bool:
        return name in self.nodes

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def incoming(self, name: str) -> tuple[Edge, ...]:
        """The edges into a node, in their order."""
        return self.nodes[name].edges

    @cached_property
    def edges(self) -> Mapping[str, Edge]:
        """Edge id -> edge, in the order in which the network computes them."""
        return MappingProxyType({edge.id: edge for node in self.nodes.values() for edge in node.edges})

    @cached_property
    def cells(self) -> Mapping[str, tuple[Node, ...]]:
        """Cell -> its nodes, both in the order in which the network computes them."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if node.kind == "cell":
                found.setdefault(node.cell, []).append(node)
        return MappingProxyType({cell: tuple(nodes) for cell, nodes in found.items()})

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """Name of a node -> the nodes that have an edge from it."""
        found: dict[str, dict[str, None]] = {name: {} for name in self.nodes}
        for node in self.nodes.values():
            for edge in node.edges:
                found[edge.source][node.name] = None
        return MappingProxyType({name: tuple(readers) for name, readers in found.items()})

    @property
    def open(self) -> dict[str, tuple[str, ...]]:
        """Id of an open edge -> its candidates."""
        return {edge.id: edge.op for edge in self.edges.values() if isinstance(edge.op, tuple)}

    def operations(self) -> dict[str, str]:
        """Id of a decided edge -> its operation."""
        return {edge.id: edge.op for edge in self.edges.values() if isinstance(edge.op, str)}

    def canonical(self) -> dict[str, Any]:
        """The graph as plain data: what a genotype's hash is made of."""
        found = {}
        for name, node in self.nodes.items():
            if node.size is not None:  # a cell's node
                edges = [[edge.id, edge.source, edge.op, edge.pre, edge.post, edge.width] for edge in node.edges]
                shape = [node.stride, node.width, node.combine, node.post]
                found[name] = [*shape, node.size.rule, node.size.of, edges]
        return found

    def reaches_image(self, choices: Mapping[str, Any] = MappingProxyType({})) -> bool:
        """Whether there is a way from the image to an output, once these choices are made."""
        return self._path(lambda edge: 0.0 if edge.carries(choices) else math.inf) is not None

    def reconnect(
        self, choices: Mapping[str, str], prices: Mapping[str, Mapping[str, float]]
    ) -> tuple[dict[str, str], list[str]]:
        """These choices, changed where they leave no way from the image to an output; and the open edges of the way.

        prices: of the candidates of every open edge; those left out are not taken. Of all ways to connect the image
        again, the one whose changes raise the sum of prices least is taken. GenotypeError where there is none.
        """
        carrying = {
            edge: {op: price for op, price in row.items() if not OPERATIONS[op].zero} for edge, row in prices.items()
        }
        cheapest = {edge: min(row, key=row.__getitem__) for edge, row in carrying.items() if row}

        def price(edge: Edge) -> float:
            if edge.carries(choices):
                return 0.0
            if edge.id not in cheapest:
                return math.inf
            row = prices[edge.id]
            # More than nothing, so that no edge is changed without need.
            return max(1e-12, row[cheapest[edge.id]] - row.get(choices[edge.id], 0.0))

        way = self._path(price)
        if way is None:
            raise GenotypeError("no choices are left with which the image reaches an output")
        changed = {edge.id: cheapest[edge.id] for edge in way if not edge.carries(choices)}
        return {**choices, **changed}, [edge.id for edge in way if edge.is_open]

    def _path(self, price: Callable[[Edge], float]) -> list[Edge] | None:
        """The edges of the cheapest way from the image or a tap to an output; None if every way has an infinite price.

        price: of an edge, not negative; infinite where it cannot be taken.
        """
        best: dict[str, tuple[float, Edge | None]] = {}
        for name, node in self.nodes.items():
            ways: list[tuple[float, Edge | None]] = [] if node.kind == "cell" else [(0.0, None)]
            ways += [(best[edge.source][0] + price(edge), edge) for edge in node.edges]
            best[name] = min(ways, key=lambda way: way[0])
        name = min(self.outputs, key=lambda output: best[output][0])
        if best[name][0] == math.inf:
            return None
        found: list[Edge] = []
        while (edge := best[name][1]) is not None:
            found.insert(0, edge)
            name = edge.source
        return found
