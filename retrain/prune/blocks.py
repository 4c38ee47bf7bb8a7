"""A trained network made narrower inside its backbone, until it keeps a budget.

Greedily, by what each step does to the maps of photographs (as NetAdapt, by accuracy: Yang et al., ECCV 2018): one at
a time, blocks are tried a step narrower or absent, with the weights as they are; those steps are taken that change the
maps least for what they save.
"""

import copy
from collections.abc import Callable, Mapping
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
    report: Callable[[Genotype, float], None] = lambda genotype, wrong: None,
) -> Network:
    """The network with fewer hidden channels, or blocks, that costs at most `budget`.

    net: is left as it is. judge: estimates a network's norm statistics anew, and says how much is wrong with it; called
    for every step that is tried, with the number of the round: each should have photographs of its own, since what few
    have chosen is good for those alone. report: of the network of each round, from the first, and what was wrong.

    Raises UserError for a backbone without blocks that can be narrowed, and a budget that the narrowest network breaks.
    """
    name, backbone = net.genotype.name, net.genotype.backbone
    if backbone is None or not backbone.hidden:
        raise UserError(f"{name} has no backbone with blocks that can be narrowed; a CSNet is pruned without a budget")
    whole = copy.deepcopy(net)
    sort_hidden_channels(whole)

    def narrower(backbone: Backbone, widths: Mapping[int, int]) -> Genotype:
        hidden = tuple(widths.get(block, width) for block, width in enumerate(backbone.hidden))
        return net.genotype.replace(backbone=replace(backbone, widths=hidden))

    narrowest = {block: widths[-1] for block in range(len(backbone.hidden)) if (widths := _below(backbone, block))}
    if (least := cost(narrower(backbone, narrowest))) > budget:
        raise UserError(f"budget {budget:,.10g}: as narrow as can be, {name} costs {least:,.10g}")
    left, turn = whole, 0
    excess = cost(left.genotype) - budget
    while (over := (spent := cost(left.genotype)) - budget) > 0:
        wrong = judge(left, turn)
        report(left.genotype, wrong)
        backbone = left.genotype.backbone
        assert backbone
        steps = []
        for block in range(len(backbone.hidden)):
            widths = _below(backbone, block)
            for width in {*widths[:1], *(width for width in widths if width == 0)}:
                tried = narrower(backbone, {block: width})
                price = (judge(Member(whole, tried).copy(), turn) - wrong) / (spent - cost(tried))
                steps.append((price, width, block))
        taken: dict[int, int] = {}
        saved = 0.0
        # Steps cost more together than one by one: half of the way at once, then all are tried again.
        most = max(over / 2, excess / 8)
        for _, width, block in sorted(steps, key=lambda step: (step[0], -step[1], step[2])):
            further = taken | {block: min(width, taken.get(block, width))}
            more = spent - cost(narrower(backbone, further))
            if taken and (saved >= over or more > most):
                break
            taken, saved = further, more
        left, turn = Member(whole, narrower(backbone, taken)).copy(), turn + 1
    report(left.genotype, judge(left, turn))
    return left


def _below(backbone: Backbone, block: int) -> list[int]:
    """The widths that a block may have below its own, the widest first; the last is 0 where it may be absent."""
    record, own = BACKBONES[backbone.name].blocks[block], backbone.hidden[block]
    if record.least == record.width:
        return []
    widths = {max(8, 8 * round(record.width * part / _PARTS / 8)) for part in range(1, _PARTS)}
    widths |= {0} if record.least == 0 else set()
    return sorted((width for width in widths if width < own), reverse=True)
