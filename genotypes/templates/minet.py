"""MINet's interaction modules and its decoder unit (Pang et al., CVPR 2020).

Edges carry the names of the authors' layers: `a2b_t` is the convolution from branch a to branch b in step t, where
h, m, l are the branches of high, middle and low resolution.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

from genotypes.errors import GenotypeError
from genotypes.graph import Edge, Node, Size
from genotypes.vocabulary import Feature, conv2d

__all__ = ["aggregate_interaction", "self_interaction", "upconv"]

_CONV = conv2d(3)

# Per step and branch: the branches whose sum it is, in the authors' order. Step 0 is each branch by itself.
_THREE = ({"h": "hm", "m": "hml", "l": "ml"}, {"m": "hml"})
_TWO_HIGH = ({"h": "hl", "l": "lh"}, {"h": "hl"})
_TWO_LOW = ({"h": "hl", "l": "lh"}, {"l": "hl"})


def aggregate_interaction(
    inputs: Mapping[str, Feature],
    *,
    channels: int,
    main: str = "m",
    internal: int | None = None,
    pool: Literal["avg2", "avg2_ceil"] = "avg2",
) -> list[Node]:
    """The aggregate interaction module (section 3.2): two or three neighbouring features, one of them the main one.

    Three steps at `internal` channels (default: the narrowest input's), each BN(sum of 3x3 convolutions) and ReLU;
    features shrink by `pool` and grow by nearest neighbours before the convolution. Then

        out = ReLU(BN(conv3x3(main branch)) + conv1x1(main input))          with `channels` channels

    inputs: neighbours of strides s, 2s, (4s), in any order. main: "m" for three inputs, "h" or "l" for two.
    pool: "avg2" where the inputs' odd sizes halve downwards (VGG), "avg2_ceil" where upwards (ResNet).
    The convolutions of steps 1 and 2 are choices.
    """
    features = sorted(inputs.values(), key=lambda feature: feature.stride)
    strides = [feature.stride for feature in features]
    if len(features) not in (2, 3) or any(b != 2 * a for a, b in pairwise(strides)):
        raise GenotypeError(f"expected two or three inputs, each at twice the stride of another, not {strides}")
    names = "hml" if len(features) == 3 else "hl"
    branches = dict(zip(names, features, strict=True))
    if main not in branches or (len(names) == 3) != (main == "m"):
        raise GenotypeError(f"main must be 'm' for three inputs and 'h' or 'l' for two, not {main!r}", ("main",))
    internal = min(feature.width for feature in features) if internal is None else internal

    def node(branch: str, step: int, width: int, *edges: Edge, post: str = "bn_relu") -> Node:
        feature = branches[branch]
        size = Size("like", feature.name)
        return Node(name=f"{branch}{step}", stride=feature.stride, width=width, edges=edges, post=post, size=size)

    def conv(a: str, b: str, step: int) -> Edge:
        pre = () if a == b else (pool,) if names.index(a) < names.index(b) else ("nearest",)
        return Edge(name=f"{a}2{b}_{step}", source=f"{a}{step - 1}", op=_CONV, pre=pre, choice=True)

    nodes = [
        node(name, 0, internal, Edge(name=f"{name}2{name}_0", source=feature.name, op=_CONV))
        for name, feature in branches.items()
    ]
    for step, merges in enumerate({"m": _THREE, "h": _TWO_HIGH, "l": _TWO_LOW}[main], start=1):
        nodes += [node(b, step, internal, *(conv(a, b, step) for a in sources)) for b, sources in merges.items()]
    last = Edge(name=f"{main}2{main}_3", source=f"{main}2", op=_CONV)
    nodes.append(node(main, 3, channels, last, post="bn"))
    # The authors add the projected input after the norm, so the sum is a node of its own.
    identity = Edge(name="identity", source=branches[main].name, op=conv2d(1))
    edges = (Edge(name="branch", source=f"{main}3"), identity)
    return [*nodes, Node(name="out", stride=branches[main].stride, width=channels, edges=edges, post="relu")]


def self_interaction(inputs: Mapping[str, Feature], *, low: int | None = None) -> list[Node]:
    """The self-interaction module (section 3.3): a feature x and its half-size, `low` channels wide (default: half).

    The input called `above` is a coarser level: resized, it is added to the other input, which gives x. Three steps
    as in `aggregate_interaction`, but growing is bilinear; out = h2 + x.
    The 3x3 convolutions of steps 1 and 2 that keep the width are choices.
    """
    others = [feature for name, feature in inputs.items() if name != "above"]
    if len(others) != 1:
        raise GenotypeError(f"expected one input, and `above` where there is a coarser level, not {list(inputs)}")
    x, nodes = others[0], []
    stride, width = x.stride, x.width
    if "above" in inputs:
        edges = (Edge(name="in_x", source=x.name), Edge(name="in_above", source="above", post=("bilinear",)))
        nodes.append(Node(name="x", stride=stride, width=width, edges=edges, size=Size("like", x.name)))
        x = Feature("x", stride, width)
    widths = {"h": width, "l": width // 2 if low is None else low}

    def node(name: str, *edges: Edge) -> Node:
        # The half size rounds down whatever the backbone does: the coarsest level may be odd on the authors' sizes.
        high = name.startswith("h")
        size = Size("like" if high else "floor_half", x.name)
        at = stride if high else 2 * stride
        return Node(name=name, stride=at, width=widths[name[0]], edges=edges, post="bn_relu", size=size)

    def conv(a: str, b: str, step: int) -> Edge:
        source = f"{a}{step - 1}" if step else x.name
        pre = {"hl": ("avg2",), "lh": ("bilinear",)}.get(a + b, ())
        choice = step > 0 and widths[a] == widths[b]
        return Edge(name=f"{a}2{b}_{step}", source=source, op=_CONV, pre=pre, choice=choice)

    nodes += [
        node("h0", conv("h", "h", 0)),
        node("l0", conv("h", "l", 0)),
        node("h1", conv("h", "h", 1), conv("l", "h", 1)),
        node("l1", conv("l", "l", 1), conv("h", "l", 1)),
        node("h2", conv("h", "h", 2), conv("l", "h", 2)),
    ]
    edges = (Edge(name="branch", source="h2"), Edge(name="residual", source=x.name))
    return [*nodes, Node(name="out", stride=stride, width=width, edges=edges)]


def upconv(inputs: Mapping[str, Feature], *, channels: int) -> list[Node]:
    """ReLU(BN(conv3x3(x))), no bias: `out`, `channels` wide. With an input called `like`, x is first resized to it."""
    others = [feature for name, feature in inputs.items() if name != "like"]
    if len(others) != 1:
        raise GenotypeError(f"expected one input, and `like` where x is to be resized, not {list(inputs)}")
    to = inputs.get("like", others[0])
    pre = ("bilinear",) if "like" in inputs else ()
    edge = Edge(name="conv", source=others[0].name, op=conv2d(3, bias=False), pre=pre)
    size = Size("like", to.name)
    return [Node(name="out", stride=to.stride, width=channels, edges=(edge,), post="bn_relu", size=size)]
