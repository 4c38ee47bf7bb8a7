"""The plain feature pyramid (Lin et al., CVPR 2017): the honest baseline of every comparison."""

from collections.abc import Sequence

from genotypes import BACKBONES, Backbone, Cell, Genotype, Input

__all__ = ["fpn"]


def fpn(
    backbone: str = "tiny",
    channels: int = 32,
    *,
    taps: Sequence[str] | None = None,
    outputs: int | None = None,
    input: Input | None = None,
    backbone_options: dict[str, str] | None = None,
    name: str | None = None,
) -> Genotype:
    """A decided genotype: 1x1 laterals, top-down sums, 3x3 convolutions, a 3x3 head a level.

    outputs: how many of the finest levels are heads (default: all but the coarsest, as in `fusion_cells`).
    """
    record = BACKBONES[backbone]
    taps = record.coarse_to_fine(taps)
    strides = [record.feature(tap).stride for tap in taps]
    outputs = max(1, len(taps) - 1) if outputs is None else outputs
    finest = strides[-outputs:][::-1]
    cells = [
        {"name": "reduce", "template": "lateral", "inputs": list(taps), "channels": channels},
        {
            "name": "pyramid",
            "template": "top_down",
            "inputs": [f"reduce.f{s}" for s in strides],
            "outputs": outputs,
        },
        *({"name": f"head{s}", "template": "head", "inputs": [f"pyramid.p_f{s}"]} for s in finest),
    ]
    return Genotype(
        name=name or f"fpn_{backbone}",
        input=input or Input.of_backbone(backbone),
        backbone=Backbone(name=backbone, taps=taps, options=backbone_options or {}),
        cells=tuple(Cell.from_dict(cell) for cell in cells),
        outputs=tuple(f"head{s}.logits" for s in finest),
    )
