"""Auto-MSFNet's FusionCell (Zhang et al., ACM MM 2021)."""

from collections.abc import Mapping
from typing import Literal

from genotypes.errors import GenotypeError
from genotypes.graph import Edge, Node, Size
from genotypes.vocabulary import Feature, conv2d

__all__ = ["fusion_cell"]


def fusion_cell(
    inputs: Mapping[str, Feature], *, stride: int, wiring: Literal["code", "figure7"] = "code"
) -> list[Node]:
    """Fuse features of all strides, coarsest first, at one stride.

    Every input F_s becomes T_s = resize(outer_s(F_s)). Inputs called `previous` are the earlier cell's output and
    are only resized. With P the previous cell's output (in the first cell: the first T) and S_1.. the other T:

        N_1 = S_1 + op(P)          N_k = S_k + op(N_{k-1}) + op(S_k)          out = ReLU(BN(conv3x3(sum of N)))

    wiring: "code" as above, as in the released code and genotypes; "figure7" draws the second operation of N_k from
    P instead of S_k, as in the paper's Figure 7. Widths: all inputs have the same, so has the output, `out`.
    """
    features = {name: feature for name, feature in inputs.items() if name != "previous"}
    if len(features) < 2:
        raise GenotypeError("a fusion cell needs two or more features besides `previous`", ("inputs",))
    widths = {feature.width for feature in inputs.values()}
    if len(widths) > 1:
        found = ", ".join(map(str, sorted(widths)))
        raise GenotypeError(f"width mismatch: the inputs' widths must be equal, not {found}", ("inputs",))
    (width,) = widths
    anchor = next((feature.name for feature in features.values() if feature.stride == stride), None)
    if anchor is None:
        strides = ", ".join(str(feature.stride) for feature in features.values())
        raise GenotypeError(f"stride {stride} must be one of the inputs' strides ({strides})", ("stride",))

    def node(name: str, *edges: Edge, post: str = "none") -> Node:
        return Node(name=name, stride=stride, width=width, edges=edges, post=post, size=Size("like", anchor))

    def resample(feature: Feature) -> tuple[str, ...]:
        return () if feature.name == anchor else ("bilinear",)

    def choice(name: str, source: str, post: tuple[str, ...] = ()) -> Edge:
        return Edge(name=name, source=source, op="", post=post, choice=True)

    nodes = [
        node(f"t_{name}", choice(f"outer_{name}", name, post=resample(feature))) for name, feature in features.items()
    ]
    names = list(features)
    if "previous" in inputs:
        nodes.append(node("p", Edge(name="resize_p", source="previous", post=("bilinear",))))
        p = "p"
    else:
        p = f"t_{names.pop(0)}"
    for k, name in enumerate(names, start=1):
        before, label = (p, "p") if k == 1 else (f"n{k - 1}", f"n{k - 1}")
        edges = [Edge(name=f"{name}_n{k}_raw", source=f"t_{name}"), choice(f"{label}_n{k}", before)]
        if k > 1:
            second, label = (f"t_{name}", name) if wiring == "code" else (p, "p")
            edges.append(choice(f"{label}_n{k}", second))
        nodes.append(node(f"n{k}", *edges))
    summands = [Edge(name=f"n{k}_sum", source=f"n{k}") for k in range(1, len(names) + 1)]
    nodes.append(node("sum", *summands))
    nodes.append(node("out", Edge(name="conv", source="sum", op=conv2d(3)), post="bn_relu"))
    return nodes
