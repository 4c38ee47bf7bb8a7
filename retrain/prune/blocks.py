"""A trained network made narrower inside its backbone, until it keeps a budget.

Greedily, by what each step does to the maps of photographs (as NetAdapt, by accuracy: Yang et al., ECCV 2018): one at
a time, blocks are tried a step narrower or absent, with the weights as they are; those steps are taken that change the
maps least for what they save.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from genotypes import BACKBONES, Backbone, Genotype, UserError
from nas.network import Member, Network
from search_spaces.backbones import sort_hidden_channels

__all__ = ["narrow_blocks"]

_PARTS = 4  # a step is a quarter of a block's published width


def narrow_blocks(
    net: Network,
    budget: float,
    judge: Callable[[Network, int], float],
    cost: Callable[[Genotype], float],
    *,
    told: Callable[[Genotype, float], None] = lambda genotype, wrong: None,
) -> Network:
    """The network with fewer hidden channels, or blocks, that costs at most `budget`.

    net: is left as it is. judge: estimates a network's norm statistics anew, and says how much is wrong with it; called
    for every step that is tried, with the number of the round: each should have photographs of its own, since what few
    have chosen is good for those alone. told: of the network of each round, from the first, and what was wrong.

    Raises UserError for a backbone without blocks that can be narrowed, and a budget that the narrowest network breaks.
    """
    name, backbone = net.genotype.name, net.genotype.backbone
    if backbone is None or not backbone.hidden:
        raise UserError(f"{name} has no backbone with blocks that can be narrowed")
    whole = copy.deepcopy(net)
    sort_hidden_channels(whole)

    def narrower(backbone: Backbone, widths: Mapping[int, int]) -> Genotype:
        hidden = tuple(widths.get(block, width) for block, width in enumerate(backbone.hidden))
        return net.genotype.replace(backbone=replace(backbone, widths=hidden))

    least = cost(narrower(backbone, dict(sorted(_steps(backbone, every=True), reverse=True))))
    if least > budget:
        raise UserError(f"budget {budget:,.10g}: as narrow as can be, {name} costs {least:,.10g}")
    left, turn = whole, 0
    excess = cost(left.genotype) - budget
    while (over := (spent := cost(left.genotype)) - budget) > 0:
        wrong = judge(left, turn)
        told(left.genotype, wrong)
        backbone = left.genotype.backbone
        assert backbone
        steps = []
        for block, width in _steps(backbone):
            tried = narrower(backbone, {block: width})
            if (less := spent - cost(tried)) > 0:
                steps.append(((judge(Member(whole, tried).copy(), turn) - wrong) / less, block, width))
        taken: dict[int, int] = {}
        saved = 0.0
        # Steps cost more together than one by one: half of the way at once, then all are tried again.
        most = max(over / 2, excess / 8)
        for _, block, width in sorted(steps, key=lambda step: (step[0], -step[2])):
            further = taken | {block: min(width, taken.get(block, width))}
            more = spent - cost(narrower(backbone, further))
            if taken and (saved >= over or more > most):
                break
            taken, saved = further, more
        left, turn = Member(whole, narrower(backbone, taken)).copy(), turn + 1
    told(left.genotype, judge(left, turn))
    return left


def _steps(backbone: Backbone, *, every: bool = False) -> Iterator[tuple[int, int]]:
    """(block, width): of each block its next width, or every one below its own, and 0 where it may be absent."""
    for block, width in enumerate(backbone.hidden):
        record = BACKBONES[backbone.name].blocks[block]
        if record.least == record.width:
            continue
        parts = {max(8, 8 * round(record.width * part / _PARTS / 8)) for part in range(1, _PARTS)}
        narrower = sorted((part for part in parts if part < width), reverse=True)
        yield from ((block, part) for part in (narrower if every else narrower[:1]))
        if record.least == 0 and width:
            yield block, 0
