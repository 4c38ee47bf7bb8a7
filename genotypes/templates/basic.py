"""Cells of no single paper: laterals and sums of feature pyramids (Lin et al., CVPR 2017), heads, literal cells."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from genotypes._checks import at, check_keys, show
from genotypes.errors import GenotypeError
from genotypes.graph import Edge, Node, Size
from genotypes.vocabulary import Feature, conv2d

__all__ = ["graph", "head", "lateral", "light_pyramid", "top_down"]


def lateral(
    inputs: Mapping[str, Feature], *, channels: int, kernel: Literal[1, 3] = 1, post: str = "none"
) -> list[Node]:
    """Every input through one convolution (with bias) to `channels`; outputs `f{stride}`."""
    op = conv2d(kernel)
    return [
        Node(
            name=f"f{feature.stride}",
            stride=feature.stride,
            width=channels,
            edges=(Edge(name=f"conv_{feature.name}", source=feature.name, op=op),),
            post=post,
        )
        for feature in inputs.values()
    ]


def top_down(inputs: Mapping[str, Feature], *, outputs: int = 1) -> list[Node]:
    """Coarsest input first: sum each with the resized level above.

    The `outputs` finest levels then pass a 3x3 convolution, BN and ReLU, which gives `p_INPUT`.
    """
    if not 1 <= outputs <= len(inputs):
        raise GenotypeError(f"outputs must be 1 to {len(inputs)}, not {outputs}", ("outputs",))
    nodes, above = [], None
    for level, feature in enumerate(inputs.values()):
        edges = [Edge(name=f"in_{feature.name}", source=feature.name)]
        if above is not None:
            edges.append(Edge(name=f"down_{feature.name}", source=above, post=("bilinear",)))
        above = f"m_{feature.name}"
        size = Size("like", feature.name)
        level_sum = Node(name=above, stride=feature.stride, width=feature.width, edges=tuple(edges), size=size)
        nodes.append(level_sum)
        if level >= len(inputs) - outputs:
            smooth = Edge(name=f"smooth_{feature.name}", source=above, op=conv2d(3))
            nodes.append(replace(level_sum, name=f"p_{feature.name}", edges=(smooth,), post="bn_relu"))
    return nodes


def light_pyramid(inputs: Mapping[str, Feature], *, channels: int) -> list[Node]:
    """A pyramid that is cheap in the deployed form: every level has one operation to choose; the last node is `out`.

    Coarse to fine: `m_INPUT` sums a 1x1 of the input and the resized level above, then BN and ReLU; `r_INPUT` is the
    chosen operation on it (edge `mix_INPUT`). `out` is the finest level, whichever inputs there are.
    """
    nodes: list[Node] = []
    above = None
    finest = None
    for feature in sorted(inputs.values(), key=lambda feature: -feature.stride):
        size = Size("like", feature.name)
        edges = [Edge(name=f"lateral_{feature.name}", source=feature.name, op=conv2d(1, bias=False))]
        if above is not None:
            edges.append(Edge(name=f"up_{feature.name}", source=above, post=("bilinear",)))
        merged, above, finest = f"m_{feature.name}", f"r_{feature.name}", feature
        mix = Edge(name=f"mix_{feature.name}", source=merged, choice=True)
        stride = feature.stride
        nodes.append(Node(name=merged, stride=stride, width=channels, edges=tuple(edges), post="bn_relu", size=size))
        nodes.append(Node(name=above, stride=stride, width=channels, edges=(mix,), size=size))
    assert above is not None and finest is not None  # a cell has inputs
    out = Edge(name="out", source=above)
    size = Size("like", finest.name)
    return [*nodes, Node(name="out", stride=finest.stride, width=channels, edges=(out,), size=size)]


def head(inputs: Mapping[str, Feature], *, kernel: Literal[1, 3] = 3) -> list[Node]:
    """One convolution (with bias) from the only input to one channel: `logits`."""
    if len(inputs) != 1:
        raise GenotypeError(f"a head takes one input, not {len(inputs)} ({', '.join(inputs)})", ("inputs",))
    (feature,) = inputs.values()
    edge = Edge(name="conv", source=feature.name, op=conv2d(kernel))
    return [Node(name="logits", stride=feature.stride, width=1, edges=(edge,))]


def graph(inputs: Mapping[str, Feature], *, nodes: tuple[Any, ...]) -> list[Node]:
    """A cell written out literally, so that nobody needs Python to invent one: the nodes exactly as written.

    nodes:
    - {name: a, stride: 8, width: 32, edges: [{name: in_a, source: s8, op: conv2d_1x1}], post: bn_relu}
    - name: b
      stride: 4
      width: 32
      size: {like: s4}
      edges: [{name: up, source: a, op: skip_connect, post: [bilinear]}]
    """
    return [at(("nodes", index), _node, data) for index, data in enumerate(nodes)]


def _node(data: Any) -> Node:
    check_keys(data, ("name", "stride", "width", "edges"), ("combine", "post", "size"))
    if not isinstance(data["name"], str) or not data["name"].isidentifier():
        raise GenotypeError(f"a node's name must be an identifier, not {show(data['name'])}", ("name",))
    if not isinstance(data["edges"], tuple):
        raise GenotypeError(f"expected a list of edges, not {show(data['edges'])}", ("edges",))
    edges = tuple(at(("edges", index), _edge, edge) for index, edge in enumerate(data["edges"]))
    size = at(("size",), _size, data["size"]) if "size" in data else None
    return Node(**{**data, "edges": edges, "size": size})


def _edge(data: Any) -> Edge:
    check_keys(data, ("name", "source", "op"), ("pre", "post", "width"))
    for key in ("pre", "post"):
        if not isinstance(data.get(key, ()), tuple):
            raise GenotypeError(f"expected a list of resampling steps, not {show(data[key])}", (key,))
    for key in ("name", "source"):
        if not isinstance(data[key], str) or not data[key].isidentifier():
            raise GenotypeError(f"expected a name, not {show(data[key])}", (key,))
    return Edge(**data)


def _size(data: Any) -> Size:
    check_keys(data, optional=tuple(Size.RULES))
    if len(data) != 1:
        raise GenotypeError(f"expected one of {', '.join(Size.RULES)}, not {show(data)}")
    ((rule, of),) = data.items()
    if not isinstance(of, str):
        raise GenotypeError(f"expected the name of a feature, not {show(of)}", (rule,))
    return Size(rule, of)
