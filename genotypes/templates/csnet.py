"""CSNet (Gao et al., ECCV 2020): in-layer multi-scale blocks, and the cross-stage fusion head, which CSF has too.

Both are generalised octave convolutions, written out as edges. A feature is a list of branches; branch j has 2^j times
the stride of branch 0, and may be absent (width 0).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from genotypes.errors import GenotypeError, plural
from genotypes.graph import Edge, Node, Size
from genotypes.vocabulary import Feature, conv2d

__all__ = ["cross_stage_fusion", "octave_block", "octave_stage"]

_DILATIONS = (1, 2, 4, 8, 16)


def octave_block(
    inputs: Mapping[str, Feature],
    *,
    stride: int,
    widths: tuple[int, ...],
    kernel: Literal[1, 3] = 1,
    downsample: bool = False,
) -> list[Node]:
    """One block: an octave convolution to branches of `widths`, the first at `stride`, then two depthwise ones each.

    Every input reaches every branch: to finer ones by convolution then bilinear growth, to coarser ones by max
    pooling then convolution; `downsample` averages every input 2x2 first. Each of the three layers of a branch ends
    in BN and PReLU; the outputs are `out0`, `out1`, ...
    """
    return _block("", list(inputs.values()), stride, widths, kernel, downsample)


def octave_stage(
    inputs: Mapping[str, Feature], *, stride: int, widths: tuple[tuple[int, ...], ...], downsample: bool = False
) -> list[Node]:
    """Several blocks in a row, one list of branch widths a block; names of block k begin with `b{k}_`.

    With `downsample` the first block averages its inputs 2x2 and has 3x3 kernels, as in CSNet's stages 2 to 4; all
    other kernels are 1x1. The outputs are the last block's: `out0`, `out1`, ...
    """
    if not widths:
        raise GenotypeError("expected one list of branch widths or more", ("widths",))
    nodes: list[Node] = []
    branches = list(inputs.values())
    for k, branch_widths in enumerate(widths):
        down = downsample and k == 0
        block = _block(f"b{k}_", branches, stride, branch_widths, 3 if down else 1, down, last=k == len(widths) - 1)
        outs = block[2::3]
        branches = [Feature(node.name, node.stride, node.width) for node in outs]
        nodes += block
    return nodes


def cross_stage_fusion(
    inputs: Mapping[str, Feature],
    *,
    fuse: tuple[int, ...],
    dilated: tuple[tuple[int, ...], ...],
    channels: int,
    post: str = "bn_prelu",
    shrink: Literal["max", "bilinear"] = "max",
) -> list[Node]:
    """Fuse the outputs of stages, finest first, into `out`, `channels` wide, at the finest stride.

    1. fuse_j: 1x1 octave convolution of all inputs to `fuse[j]` channels at the stride of input j (0: no branch j);
    2. multi_j: 3x3 convolutions of fuse_j with dilations 1, 2, 4, 8, 16, side by side, `dilated[j]` channels each
       (0: left out);
    3. out: 1x1 octave convolution of all multi_j.

    Each ends in `post`. shrink: how features reach coarser branches, "max" (CSNet) or "bilinear" (CSF).
    """
    features = sorted(inputs.values(), key=lambda feature: feature.stride)
    if not len(features) == len(fuse) == len(dilated) or any(len(widths) != len(_DILATIONS) for widths in dilated):
        raise GenotypeError(
            f"expected one width in `fuse` and {len(_DILATIONS)} widths in `dilated` for each of "
            f"{plural(len(features), 'input')}"
        )
    base = features[0].stride
    nodes, branches = [], []
    for j, (feature, width, parts) in enumerate(zip(features, fuse, dilated, strict=True)):
        size = Size("like", feature.name)
        edges = _octave_edges(f"fuse{j}", features, base, feature.stride, conv2d(1, bias=False), shrink=shrink)
        if not width or not any(parts):
            continue  # a branch pruned away
        fused = Node(name=f"fuse{j}", stride=feature.stride, width=width, edges=edges, post=post, size=size)
        nodes.append(fused)
        edges = tuple(
            Edge(name=f"multi{j}_d{d}", source=f"fuse{j}", op=conv2d(3, d, bias=False), width=part)
            for d, part in zip(_DILATIONS, parts, strict=True)
            if part
        )
        nodes.append(replace(fused, name=f"multi{j}", width=sum(parts), edges=edges, combine="concat"))
        branches.append(Feature(f"multi{j}", feature.stride, sum(parts)))
    edges = _octave_edges("out", branches, base, base, conv2d(1, bias=False))
    size = Size("like", features[0].name)
    return [*nodes, Node(name="out", stride=base, width=channels, edges=edges, post=post, size=size)]


def _octave_edges(
    name: str, branches: Iterable[Feature], base: int, stride: int, op: str, *, down: bool = False, shrink: str = "max"
) -> tuple[Edge, ...]:
    """The edges of one output branch at `stride`, from every input branch, called `{name}_from{i}`.

    base: stride of input branch 0. shrink: "max" pools, "bilinear" resizes; both before the convolution.
    """
    edges = []
    for feature in branches:
        at = feature.stride * (2 if down else 1)
        pre: tuple[str, ...] = ("avg2",) if down else ()
        if at < stride:
            pre += (f"max{stride // at}" if shrink == "max" else "bilinear",)
        post = ("bilinear",) if at > stride else ()
        index = (feature.stride // base).bit_length() - 1
        edges.append(Edge(name=f"{name}_from{index}", source=feature.name, op=op, pre=pre, post=post))
    return tuple(edges)


def _block(
    prefix: str,
    branches: list[Feature],
    stride: int,
    widths: tuple[int, ...],
    kernel: int,
    downsample: bool,
    *,
    last: bool = True,
) -> list[Node]:
    """The nodes mix, local, out of each branch in turn; the last block's outputs have no prefix."""
    if not any(widths) or any(width < 0 for width in widths):
        raise GenotypeError(f"expected branch widths, one or more positive, not {list(widths)}", ("widths",))
    if downsample and stride % 2:
        raise GenotypeError(f"with downsample, stride must be even (twice an input's), not {stride}", ("stride",))
    base = stride // 2 if downsample else stride
    nodes: list[Node] = []
    sizes = {feature.stride: feature.name for feature in branches}
    for j, width in enumerate(widths):
        at = stride * 2**j
        if width == 0:
            continue
        # All of CSNet's pools round down, so sizes of one stride agree however they came about.
        if at not in sizes and at // 2 not in sizes:
            raise GenotypeError(f"branch {j} (stride {at}) needs an input or branch of stride {at} or {at // 2}")
        size = Size("like", sizes[at]) if at in sizes else Size("floor_half", sizes[at // 2])
        mix, local = f"{prefix}mix{j}", f"{prefix}local{j}"
        out = f"out{j}" if last else f"{prefix}out{j}"
        edges = _octave_edges(mix, branches, base, at, conv2d(kernel, bias=False), down=downsample)
        shape = {"stride": at, "width": width, "post": "bn_prelu", "size": size}
        nodes.append(Node(name=mix, edges=edges, **shape))
        nodes.append(Node(name=local, edges=(_depthwise(local, mix),), **shape))
        nodes.append(Node(name=out, edges=(_depthwise(f"{prefix}out{j}", local),), **shape))
        sizes[at] = mix
    return nodes


def _depthwise(name: str, source: str) -> Edge:
    return Edge(name=name, source=source, op="depthwise_3x3")
