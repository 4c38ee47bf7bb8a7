"""MINet (Pang et al., CVPR 2020) on any backbone, as a fixed network or with its interactions open."""

from collections.abc import Sequence
from typing import Any

from genotypes import BACKBONES, OPERATIONS, Backbone, Cell, Genotype, GenotypeError, Input, UserError
from genotypes.vocabulary import conv2d

__all__ = ["MINET_OPERATIONS", "minet"]

MINET_OPERATIONS = (
    "none",
    "skip_connect",
    conv2d(1),
    conv2d(3),
    conv2d(3, 2),
    "sep_conv_3x3",
    "dil_conv_3x3",
    "spatial_attention",
    "channel_attention",
)


def minet(
    backbone: str = "tiny",
    channels: int = 64,
    operations: Sequence[str] | None = MINET_OPERATIONS,
    *,
    internal: int | None = None,
    taps: Sequence[str] | None = None,
    input: Input | None = None,
    backbone_options: dict[str, str] | None = None,
    name: str | None = None,
) -> Genotype:
    """MINet with its interaction edges (steps 1 and 2 of every module) open over `operations`.

    An edge that changes the width takes those operations that can: there must be two or more.
    operations=None: the authors' convolutions, decided. Closing every edge by "conv2d_3x3_bias" gives the same network.

    taps: two or more features, each at twice the stride of the one before (default: all of the backbone).
    channels: width of the decoder; at full resolution half of it. internal: width inside the three-input modules
    (default: the narrowest input's; the authors' light variants: 64).

    >>> len(minet("tiny").open_edges())
    56
    """
    record = BACKBONES[backbone]
    taps = record.coarse_to_fine(record.features if taps is None else taps)[::-1]
    if len(taps) < 2:
        raise GenotypeError(f"MINet needs two or more taps, not {', '.join(taps) or 'none'}", ("taps",))
    strides = [record.feature(tap).stride for tap in taps]
    least = 4 if strides[0] == 1 else 2  # the self-interactions halve the decoder's width
    if channels < least:
        raise UserError(f"minet on {backbone}: channels must be at least {least}, not {channels}")
    # The pools round odd sizes as the backbone does.
    pool = {"pool": "avg2_ceil"} if record.rounds_up else {}
    width = {stride: channels // 2 if stride == 1 else channels for stride in strides}
    cells: list[dict[str, Any]] = []
    for k, stride in enumerate(strides):
        first, last = k == 0, k == len(strides) - 1
        cell: dict[str, Any] = {"name": f"aim{stride}", "template": "aggregate_interaction"}
        cell |= {"inputs": list(taps[max(0, k - 1) : k + 2]), "channels": width[stride]}
        cell |= {"main": "h" if first else "l"} if first or last else {} if internal is None else {"internal": internal}
        cells.append(cell | pool)
    above: dict[str, str] = {}
    finer = dict(zip(strides[1:], strides, strict=False))
    for stride in reversed(strides):
        inputs = {"feature": f"aim{stride}.out", **above}
        cells.append({"name": f"sim{stride}", "template": "self_interaction", "inputs": inputs})
        inputs = {"x": f"sim{stride}.out"}
        out = width[finer[stride]] if stride in finer else channels // 2
        cells.append({"name": f"up{stride}", "template": "upconv", "inputs": inputs, "channels": out})
        above = {"above": f"up{stride}.out"}
    if strides[0] > 1:
        inputs = {"x": f"up{strides[0]}.out", "like": "image"}
        cells.append({"name": "up1", "template": "upconv", "inputs": inputs, "channels": channels // 2})
    cells.append({"name": "head", "template": "head", "inputs": ["up1.out"], "kernel": 1})
    fixed = Genotype(
        name=name or f"minet_{backbone}",
        input=input or Input.of_backbone(backbone, size=(320, 320)),
        backbone=Backbone(name=backbone, taps=taps, options=backbone_options or {}),
        cells=tuple(Cell.from_dict(cell) for cell in cells),
        outputs=("head.logits",),
    )
    if operations is None:
        return fixed
    return fixed.replace(cells=tuple(_open(cell, fixed, operations) for cell in fixed.cells))


def _open(cell: Cell, genotype: Genotype, operations: Sequence[str]) -> Cell:
    """The cell with its choices open, and with those interaction edges that change the width."""
    if cell.template not in ("aggregate_interaction", "self_interaction"):
        return cell
    changing = [op for op in operations if OPERATIONS[op].widths == "any"]
    graph = genotype.graph
    wide = {
        edge.name: changing
        for node in graph.cells[cell.name]
        for edge in node.edges
        if edge.name.endswith(("_1", "_2")) and graph[edge.source].width != edge.width
    }
    if len(changing) < 2:
        raise GenotypeError(
            "expected operations of which two or more can change the width, as edges between branches must: "
            f"{', '.join(op for op in MINET_OPERATIONS if OPERATIONS[op].widths == 'any')}; not {', '.join(operations)}"
        )
    return Cell.from_dict(cell.to_dict() | {"candidates": list(operations), "operations": wide})
