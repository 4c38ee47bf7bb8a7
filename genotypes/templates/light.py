"""Decoders that are cheap in the deployed form: few, narrow maps, and 1x1 or depthwise convolutions."""

from collections.abc import Mapping

from genotypes.graph import Edge, Node, Size
from genotypes.vocabulary import Feature, conv2d

__all__ = ["light_pyramid"]


def light_pyramid(inputs: Mapping[str, Feature], *, channels: int) -> list[Node]:
    """A feature pyramid (Lin et al., CVPR 2017) whose every level has one operation to choose; the last node is `out`.

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
