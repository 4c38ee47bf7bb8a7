"""A space of whole networks: backbone, decoder and input size shrink together, each by choices of its own."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Literal, get_args

from genotypes import BACKBONES, Backbone, Cell, Genotype, Input, UserError
from genotypes.errors import check_least
from genotypes.parts import SMALLEST

__all__ = ["COMPACT_OPERATIONS", "LeaveOut", "check_compact", "compact"]

COMPACT_OPERATIONS = ("skip_connect", "depthwise_3x3", "dw_sep_conv_3x3", "conv_3x3")
LeaveOut = Literal["coarsest", "either", "none"]


def compact(
    backbone: str = "mobilenet_v2",
    channels: Sequence[int] = (16, 24, 32, 48, 64),
    operations: Sequence[str] = COMPACT_OPERATIONS,
    *,
    sizes: Sequence[int] = (96, 128, 160, 192),
    shares: Sequence[float] = (0.5, 0.75, 1.0),
    open_blocks: int = 8,
    taps: Sequence[str] | None = None,
    leave_out: LeaveOut = "coarsest",
    step: int = 8,
    input: Input | None = None,
    backbone_options: dict[str, str] | None = None,
    name: str | None = None,
) -> Genotype:
    """Open: input size, hidden widths of the backbone's deepest blocks (residual ones may be absent), the decoder's
    width, its operation on every level, and whether it reads the coarsest tap.

    channels: of the decoder. shares: of a block's published width, rounded to a multiple of `step`; a backbone whose
    blocks cannot be narrowed stays as it is. open_blocks: how many of its blocks are open, the deepest; the others stay
    whole. taps: the most that the decoder reads (default: the four coarsest). leave_out: of these the coarsest may be
    left out, or either the finest or the coarsest, or none.

    The defaults follow the first gate (docs/results.md), on a space with every block, every end and widths of 8 to 32:
    without the tap of stride 4 members lay .022 to .030 MAE above uniform scaling; a decoder 32 wide cost hardly more
    time than one 8 wide and took .010 to .020 off the MAE; and absent or narrow blocks cost more than they saved, so
    few are open, where a block has the most weights and the fewest pixels.

    Raises UserError for values that cannot be chosen, see `check_compact`.

    >>> space = compact("mobilenet_v2")
    >>> len(space.choices()), space.choices()["backbone.widths.15"], space.choices()["decoder.inputs"]
    (15, (0, 480, 720, 960), ('s32 s16 s8 s4', 's16 s8 s4'))
    """
    check_compact(channels, sizes, shares, open_blocks, leave_out, step)
    record = BACKBONES[backbone]
    taps = record.coarse_to_fine(taps)
    blocks = record.blocks[: record.depth(taps)]
    widths = []
    for number, block in enumerate(blocks):
        found = {block.width}
        if block.least < block.width and number >= len(blocks) - open_blocks:
            found |= {0} if block.least == 0 else set()
            found |= {min(block.width, max(step, step * round(share * block.width / step))) for share in shares}
        widths.append({"choose": sorted(found)} if len(found) > 1 else block.width)
    reads = [taps]
    if len(taps) > 2:
        reads += [taps[:-1]] if leave_out == "either" else []
        reads += [taps[1:]] if leave_out != "none" else []
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
        input=replace(
            input or Input.of_backbone(backbone),
            size=(max(sizes), max(sizes)),
            sizes=tuple(sorted(sizes)) if len(sizes) > 1 else (),
        ),
        backbone=Backbone(name=backbone, taps=taps, options=backbone_options or {}, widths=tuple(widths)),
        cells=tuple(Cell.from_dict(cell) for cell in cells),
        outputs=("head.logits",),
    )


def check_compact(
    channels: Sequence[int],
    sizes: Sequence[int],
    shares: Sequence[float],
    open_blocks: int,
    leave_out: LeaveOut,
    step: int,
) -> None:
    """UserError, with its name, for the first of these arguments of `compact` that leaves nothing to choose from."""
    for values, good, expected in (
        (channels, lambda width: width >= 1, "channels must be one width or more, from 1 up"),
        (sizes, lambda side: side >= SMALLEST, f"sizes: expected sides to choose from, integers from {SMALLEST} up"),
        (shares, lambda share: 0 < share <= 1, "shares must be in 0..1, without 0"),
    ):
        several = isinstance(values, Sequence)
        if not several or not values or not all(isinstance(value, int | float) and good(value) for value in values):
            raise UserError(f"{expected}, not {list(values) if several else values}")
    check_least(SimpleNamespace(open_blocks=open_blocks, step=step), open_blocks=0, step=1)
    if leave_out not in get_args(LeaveOut):
        raise UserError(f"leave_out must be one of {', '.join(get_args(LeaveOut))}, not {leave_out!r}")
