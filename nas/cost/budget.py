"""The most probable network that a budget allows."""

from collections.abc import Collection, Mapping
from math import log

import numpy as np

from genotypes import OPERATIONS, UserError
from nas.cost.lookup import CostTable

__all__ = ["within_budget"]

_MOST_STATES = 10_000
_SMALLEST = 1e-30


def within_budget(
    probabilities: Mapping[str, Mapping[str, float]],
    table: CostTable,
    budget: float,
    *,
    exclude: Collection[str] = (),
) -> dict[str, str]:
    """The choices with the greatest product of probabilities among those that cost at most `budget`.

    probabilities: edge -> candidate -> probability, for all edges and candidates of the table; within an edge only
    their ratios matter. budget: in the table's unit, for the whole network. exclude: operations not to be chosen.

    A multiple-choice knapsack, solved edge by edge: of the networks decided so far, those stay that no cheaper one
    beats (Dudzinski and Walukiewicz, EJOR 1987). Exact as long as no more than 10,000 stay; of more, the most probable
    in each of 10,000 equal intervals of cost go on. The budget is met in any case. Where the network found ignores the
    image, it is solved again with the image's most probable way to an output kept open, or else its cheapest.

    Raises UserError where even the cheapest network costs more, and where `exclude` leaves an edge nothing.
    """
    costs = table.rows(exclude)
    scores = {edge: {op: log(max(probabilities[edge][op], _SMALLEST)) for op in row} for edge, row in costs.items()}
    cheapest = table.cheapest(exclude)
    if table.of(cheapest) > budget:
        without = f" without {', '.join(exclude)}" if exclude else ""
        raise UserError(
            f"no network of {table.space}{without} meets the budget of {budget:,.10g} {table.unit}: "
            f"the cheapest costs {table.of(cheapest):,.10g}"
        )
    found = _most_probable(costs, scores, table, budget)
    if table.graph is None or table.graph.reaches_image(found):
        return found
    losses = {edge: {op: -score for op, score in row.items()} for edge, row in scores.items()}
    for start, prices in (
        (found, losses),
        ({edge: min(row, key=row.__getitem__) for edge, row in costs.items()}, costs),
    ):
        _, way = table.graph.reconnect(start, prices)
        kept = {edge: _without_zeros(row) if edge in way else row for edge, row in costs.items()}
        if table.fixed + sum(min(row.values()) for row in kept.values()) <= budget:
            break
    return _most_probable(kept, scores, table, budget)


def _without_zeros(row: Mapping[str, float]) -> dict[str, float]:
    return {op: cost for op, cost in row.items() if not OPERATIONS[op].zero}


def _most_probable(
    costs: Mapping[str, Mapping[str, float]], scores: Mapping[str, Mapping[str, float]], table: CostTable, budget: float
) -> dict[str, str]:
    """The choices with the greatest sum of scores among those of `costs` that keep the budget, which some do."""
    best = {edge: max(row, key=scores[edge].__getitem__) for edge, row in costs.items()}
    if table.of(best) <= budget:
        return best
    cost, score, steps = np.array([table.fixed]), np.zeros(1), []
    rest = sum(min(row.values()) for row in costs.values())  # what the edges that are still to come cost at least
    for edge, row in costs.items():
        rest -= min(row.values())
        origins, picks = np.divmod(np.arange(len(cost) * len(row)), len(row))
        cost = cost[origins] + np.array(list(row.values()))[picks]
        score = score[origins] + np.array([scores[edge][op] for op in row])[picks]
        kept = _undominated(cost, score, budget - rest)
        cost, score = cost[kept], score[kept]
        steps.append((edge, list(row), origins[kept], picks[kept]))
    choices, state = {}, int(np.flatnonzero(cost <= budget)[-1])  # the dearest that is left is the most probable
    for edge, ops, origins, picks in reversed(steps):
        choices[edge] = ops[picks[state]]
        state = origins[state]
    return {edge: choices[edge] for edge in table.edges}


def _undominated(cost: np.ndarray, score: np.ndarray, limit: float) -> np.ndarray:
    """Indices, by rising cost, of what costs at most `limit` and scores higher than all that costs no more."""
    order = np.lexsort((-score, cost))
    order = order[cost[order] <= limit + 1e-9 * abs(limit)]  # sums in another order differ in their last bits
    ahead = np.maximum.accumulate(score[order])
    order = order[np.r_[True, ahead[1:] > ahead[:-1]]]
    if len(order) <= _MOST_STATES:
        return order
    edges = np.linspace(cost[order[0]], cost[order[-1]], _MOST_STATES)
    last = np.searchsorted(cost[order], edges, side="right") - 1  # the highest score up to there
    return order[np.unique(last)]
