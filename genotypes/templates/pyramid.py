"""Feature pyramids (Lin et al., CVPR 2017): `lateral` brings features to one width, `top_down` sums them."""

from collections.abc import Mapping

from genotypes.elements import Edge, Feature, Node, Size
from genotypes.errors import GenotypeError
from genotypes.templates._registry import register_template

__all__ = ["lateral", "top_down"]


@register_template
def lateral(inputs: Mapping[str, Feature], *, channels: int, kernel: int = 1, post: str = "none") -> list[Node]:
    """Every input through one convolution (with bias) to `channels`; outputs `f{stride}`."""
    if kernel not in (1, 3):
        raise GenotypeError(f"kernel must be 1 or 3, not {kernel}", ("kernel",))
    op = f"conv2d_{kernel}x{kernel}_bias"
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


@register_template
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
        shape = {"stride": feature.stride, "width": feature.width, "size": Size("like", feature.name)}
        nodes.append(Node(name=above, edges=tuple(edges), **shape))
        if level >= len(inputs) - outputs:
            smooth = Edge(name=f"smooth_{feature.name}", source=above, op="conv2d_3x3_bias")
            nodes.append(Node(name=f"p_{feature.name}", edges=(smooth,), post="bn_relu", **shape))
    return nodes
