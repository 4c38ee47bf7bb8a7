"""Auto-MSFNet's search space (Zhang et al., ACM MM 2021), for any backbone with two or more taps."""

from collections.abc import Sequence
from typing import Any

from genotypes import BACKBONES, Backbone, Cell, Genotype, GenotypeError, Input

__all__ = ["AUTO_MSFNET_OPERATIONS", "fusion_cells"]

AUTO_MSFNET_OPERATIONS = (
    "none",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_3x3_rp2",
    "dil_conv_3x3",
    "dil_conv_3x3_rp2",
    "dil_conv_3x3_dil4",
    "conv_3x3",
    "conv_3x3_rp2",
    "spatial_attention",
    "channel_attention",
)


def fusion_cells(
    backbone: str = "tiny",
    channels: int = 32,
    operations: Sequence[str] = AUTO_MSFNET_OPERATIONS,
    *,
    taps: Sequence[str] | None = None,
    strides: Sequence[int] | None = None,
    wiring: str = "code",
    input: Input | None = None,
    backbone_options: dict[str, str] | None = None,
    name: str | None = None,
) -> Genotype:
    """An open genotype: every cell fuses all taps at one stride, cells from coarse to fine.

    taps: backbone features (default: the four coarsest); strides: the cells' (default: all taps' but the coarsest).
    wiring: "code" or "figure7", see `genotypes.templates.fusion.fusion_cell`.
    Four taps give 12 outer + 5 + 7 + 7 inner open edges. Raises GenotypeError for fewer than two taps.

    >>> len(fusion_cells("tiny").open_edges())
    31
    """
    taps = BACKBONES[backbone].coarse_to_fine(taps)
    if len(taps) < 2:
        raise GenotypeError(f"fusion needs two or more taps, not {', '.join(taps) or 'none'}", ("taps",))
    tapped = [BACKBONES[backbone].feature(tap).stride for tap in taps]
    strides = sorted(tapped[1:] if strides is None else strides, reverse=True)
    if not strides:
        raise GenotypeError("expected the cells' strides, at least one, not none", ("strides",))
    reduce = {"name": "reduce", "template": "lateral", "inputs": list(taps), "channels": channels}
    cells: list[dict[str, Any]] = [reduce | {"kernel": 3, "post": "bn_relu"}]
    previous: dict[str, str] = {}
    for stride in strides:
        inputs = previous | {f"f{tap}": f"reduce.f{tap}" for tap in tapped}
        cell = {"name": f"fuse{stride}", "template": "fusion_cell", "inputs": inputs, "stride": stride}
        cell |= {} if wiring == "code" else {"wiring": wiring}
        cells.append(cell | {"candidates": list(operations)})
        previous = {"previous": f"fuse{stride}.out"}
    finest = strides[::-1]
    cells += [{"name": f"head{stride}", "template": "head", "inputs": [f"fuse{stride}.out"]} for stride in finest]
    return Genotype(
        name=name or f"fusion_cells_{backbone}",
        cells=tuple(map(Cell.from_dict, cells)),
        input=input or Input.of_backbone(backbone),
        backbone=Backbone(name=backbone, taps=taps, options=backbone_options or {}),
        outputs=tuple(f"head{stride}.logits" for stride in finest),
    )
