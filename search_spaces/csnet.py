"""CSNet (Gao et al., ECCV 2020) at any widths: before pruning, and after it with the widths it learnt."""

import math
from collections.abc import Sequence
from typing import Any

from genotypes import Cell, Genotype, Input, UserError

__all__ = ["csnet", "csnet_of_widths", "open_csnet"]

Widths = Sequence[Sequence[int]]


def csnet(expand: float = 1, *, name: str | None = None) -> Genotype:
    """CSNet before pruning: stages of 1, 3, 4, 6, 4 blocks, half of the channels on each of two scales.

    expand: 1 gives the paper's x1 (20 channels in the first stage), 2 its x2. Raises UserError below 1.

    >>> csnet(1).name
    'csnet_x1'
    """
    if not 1 <= expand < math.inf:
        raise UserError(f"expand must be 1 or more, not {expand}")
    w = round(20 * expand)

    def blocks(width: int, count: int) -> list[list[int]]:
        return [[round(width / 2)] * 2] * count  # Python rounds a half to even, as the authors' code does

    stages = [blocks(w, 1), blocks(w, 3)]
    for width, count in ((2 * w, 4), (4 * w, 6), (4 * w, 4)):
        stages.append([*blocks(width, count - 1), [width]])
    fuse = [2 * w // 3, 4 * w // 3, 4 * w // 3]
    dilated = [[n // 5] * 4 + [n - 4 * (n // 5)] for n in fuse]
    return csnet_of_widths(stages, fuse, dilated, sum(fuse), name=name or f"csnet_x{expand:g}")


def csnet_of_widths(
    stages: Sequence[Widths], fuse: Sequence[int], dilated: Widths, channels: int, *, name: str
) -> Genotype:
    """CSNet with its widths written out, as pruning leaves them.

    stages: per stage, per block, per branch (stage 0 has one block; the last blocks of stages 2 to 4 one branch).
    fuse, dilated, channels: those of `genotypes.templates.csnet.cross_stage_fusion`.
    """
    cells, branches = [], {"x0": "image"}
    for k, (widths, stride) in enumerate(zip(stages, (1, 1, 2, 4, 8), strict=True)):
        cell = {"name": f"stage{k}", "inputs": dict(branches), "stride": stride}
        if k == 0:
            cell |= {"template": "octave_block", "widths": list(widths[0]), "kernel": 3}
        else:
            cell |= {"template": "octave_stage", "widths": [list(block) for block in widths]}
            cell |= {"downsample": True} if k > 1 else {}
        cells.append(cell)
        branches = {f"x{j}": f"stage{k}.out{j}" for j, width in enumerate(widths[-1]) if width}
    inputs = {f"x{j}": f"stage{k}.out0" for j, k in enumerate((2, 3, 4))}
    head = {"fuse": list(fuse), "dilated": [list(parts) for parts in dilated], "channels": channels}
    cells.append({"name": "fusion", "template": "cross_stage_fusion", "inputs": inputs, **head})
    cells.append({"name": "head", "template": "head", "inputs": ["fusion.out"], "kernel": 1})
    return Genotype(
        name=name,
        input=Input(size=(224, 224)),
        cells=tuple(Cell.from_dict(cell) for cell in cells),
        outputs=("head.logits",),
    )


def open_csnet(expand: float = 1) -> Genotype:
    """`csnet(expand)` with every width open: each may be any number of channels up to what it is before pruning.

    Open are the branches of every block (from 1 up), and in the head the fused branches, the convolutions of each
    dilation (from 0 up: 0 leaves out a dilation, or a branch) and the channels after them. The paper learns these
    widths by pruning (section 3.3), so `retrain.prune` decides them, too. Deciding each at its largest candidate gives
    the zoo's network back.

    >>> space = open_csnet(1)
    >>> space.decide({choice: max(widths) for choice, widths in space.choices().items()}) == csnet(1)
    True
    """
    fixed = csnet(expand)

    def opened(width: Any, least: int) -> Any:
        if isinstance(width, tuple):
            return [opened(item, least) for item in width]
        return {"choose": list(range(least, width + 1))}

    cells = []
    for cell in fixed.cells:
        data = cell.to_dict()
        for name, least in (("widths", 1), ("fuse", 0), ("dilated", 0), ("channels", 1)):
            if name in data:
                data[name] = opened(cell.params[name], least)
        cells.append(Cell.from_dict(data))
    return fixed.replace(name=f"open_{fixed.name}", cells=tuple(cells))
