"""A toy for the tests of studies: an additive landscape, scored in no time."""

import random

from nas.trials import Trials


def toy(edges=8, candidates=5, seed=0):
    """(space, score): every choice adds its own number to the loss; cost: how late the candidates stand."""
    draw = random.Random(seed)
    space = {f"cell.e{e}": tuple(f"op{c}" for c in range(candidates)) for e in range(edges)}
    parts = {(edge, op): draw.gauss(0, 1) for edge, ops in space.items() for op in ops}

    def score(choices, report):
        return (sum(parts[pair] for pair in choices.items()),)

    return space, score


def cost_of(space, choices):
    return float(sum(1 + space[edge].index(op) for edge, op in choices.items()))


def facts(found: Trials):
    """All of a study but when and by whom."""
    return [(t.number, t.state, dict(t.choices), t.values, t.repeat_of) for t in found.trials]
