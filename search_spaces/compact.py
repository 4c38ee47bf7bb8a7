"""A space of whole networks: backbone, decoder and input size shrink together, each by choices of its own."""

from collections.abc import Sequence

from genotypes import BACKBONES, Backbone, Cell, Genotype, Input
from search_spaces.fusion_cells import coarse_to_fine

__all__ = ["COMPACT_OPERATIONS", "compact"]

COMPACT_OPERATIONS = ("skip_connect", "depthwise_3x3", "dw_sep_conv_3x3", "conv_3x3")


def compact(
    backbone: str = "mobilenet_v2",
    channels: Sequence[int] = (8, 16, 24, 32),
    operations: Sequence[str] = COMPACT_OPERATIONS,
    *,
    sizes: Sequence[int] = (96, 128, 160, 192),
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    taps: Sequence[str] | None = None,
    step: int = 8,
    input: Input | None = None,
    backbone_options: dict[str, str] | None = None,
    name: str | None = None,
) -> Genotype:
    """Open: input size, hidden width of each of the backbone's blocks (none: residual ones may be absent), which taps
    the decoder reads and at which stride it ends, its width, and its operation on every level.

    channels: of the decoder. shares: of a block's published width, rounded to a multiple of `step`; a backbone whose
    blocks cannot be narrowed stays as it is. taps: the most that the decoder reads (default: the four coarsest); the
    finest, or the coarsest, may be left out.

    >>> space = compact("mobilenet_v2")
    >>> len(space.choices()), space.choices()["backbone.widths.2"]
    (23, (0, 32, 72, 112, 144))
    """
    record = BACKBONES[backbone]
    taps = coarse_to_fine(backbone, taps)
    blocks = record.blocks[: record.depth(taps)]
    widths = []
    for block in blocks:
        found = {block.width} | ({0} if block.least == 0 else set())
        if block.least < block.width:
            found |= {min(block.width, max(step, step * round(share * block.width / step))) for share in shares}
        widths.append({"choose": sorted(found)} if len(found) > 1 else block.width)
    reads = [taps]
    if len(taps) > 2:
        reads += [taps[:-1], taps[1:]]
    convention = input or Input.of_backbone(backbone)
    cells = [
        {
            "name": "decoder",
            "template": "light_pyramid",
            "inputs": {"choose": [" ".join(read) for read in reads]} if len(reads) > 1 else list(taps),
            "channels": {"choose": sorted(channels)} if len(channels) > 1 else channels[0],
            "candidates": list(operations),
        },
        {"name": "head", "template": "head", "inputs": ["decoder.out"]},
    ]
    return Genotype(
        name=name or f"compact_{backbone}",
        input=Input(
            mean=convention.mean,
            std=convention.std,
            size=(max(sizes), max(sizes)),
            sizes=tuple(sorted(sizes)) if len(sizes) > 1 else (),
        ),
        backbone=Backbone(name=backbone, taps=taps, options=backbone_options or {}, widths=tuple(widths)),
        cells=tuple(Cell.from_dict(cell) for cell in cells),
        outputs=("head.logits",),
    )
