"""The cross-stage fusion head of CSNet and of CSF+Res2Net50 (Gao et al., ECCV 2020)."""

from collections.abc import Mapping

from genotypes.elements import Edge, Feature, Node, Size
from genotypes.errors import GenotypeError
from genotypes.templates._registry import register_template
from genotypes.templates.octave import octave_edges

__all__ = ["cross_stage_fusion"]

_DILATIONS = (1, 2, 4, 8, 16)


@register_template
def cross_stage_fusion(
    inputs: Mapping[str, Feature],
    *,
    fuse: tuple[int, ...],
    dilated: tuple[tuple[int, ...], ...],
    channels: int,
    post: str = "bn_prelu",
    shrink: str = "max",
) -> list[Node]:
    """Fuse the outputs of stages, finest first, into `out`, `channels` wide, at the finest stride.

    1. fuse_j: 1x1 octave convolution of all inputs to `fuse[j]` channels at the stride of input j;
    2. multi_j: 3x3 convolutions of fuse_j with dilations 1, 2, 4, 8, 16, side by side, `dilated[j]` channels each
       (0: left out);
    3. out: 1x1 octave convolution of all multi_j.

    Each ends in `post`. shrink: how features reach coarser branches, "max" (CSNet) or "bilinear" (CSF).
    """
    features = sorted(inputs.values(), key=lambda feature: feature.stride)
    if not len(features) == len(fuse) == len(dilated) or any(len(widths) != len(_DILATIONS) for widths in dilated):
        raise GenotypeError(
            f"expected one width in `fuse` and {len(_DILATIONS)} widths in `dilated` for each of {len(features)} inputs"
        )
    if shrink not in ("max", "bilinear"):
        raise GenotypeError(f"unknown shrink {shrink!r}; known: max, bilinear", ("shrink",))
    base = features[0].stride
    nodes, branches = [], []
    for j, (feature, width, parts) in enumerate(zip(features, fuse, dilated, strict=True)):
        shape = {"stride": feature.stride, "post": post, "size": Size("like", feature.name)}
        edges = octave_edges(f"fuse{j}", features, base, feature.stride, "conv2d_1x1", shrink=shrink)
        if not any(parts):
            continue  # a branch pruned away
        nodes.append(Node(name=f"fuse{j}", width=width, edges=edges, **shape))
        edges = tuple(
            Edge(name=f"multi{j}_d{d}", source=f"fuse{j}", op="conv2d_3x3" + (f"_d{d}" if d > 1 else ""), width=part)
            for d, part in zip(_DILATIONS, parts, strict=True)
            if part
        )
        nodes.append(Node(name=f"multi{j}", width=sum(parts), edges=edges, combine="concat", **shape))
        branches.append(Feature(f"multi{j}", feature.stride, sum(parts)))
    edges = octave_edges("out", branches, base, base, "conv2d_1x1")
    size = Size("like", features[0].name)
    return [*nodes, Node(name="out", stride=base, width=channels, edges=edges, post=post, size=size)]
