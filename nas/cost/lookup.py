"""What every candidate on every open edge of a space costs, and the most probable network within a budget.

Costs (parameters, multiply-adds or milliseconds) add up: a network's is what no choice changes plus an entry for each
edge. For parameters and multiply-adds that is exact, for latency an estimate. So the expected cost under a search's
weights is differentiable (ProxylessNAS, Cai et al., ICLR 2019, section 3.3).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import log
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from genotypes import OPERATIONS, Genotype, Graph, UserError
from nas.cost.clock import warn_if_busy
from nas.cost.counting import ShapesOnly, count
from nas.cost.latency import LatencyCache, measure_latencies
from nas.cost.places import Place, PlacedOperation, find_places, some_choices
from nas.run import open_device
from nas.run.sizes import parse_size

__all__ = ["COST_KINDS", "CostTable", "cost_table", "count_one", "within_budget"]

_MOST_STATES = 10_000
_SMALLEST = 1e-30
COST_KINDS = {"params": "parameters", "macs": "multiply-adds", "latency": "ms"}  # kind -> unit


@dataclass(frozen=True, kw_only=True, eq=False)
class CostTable:
    """The costs of a space's candidates for one image of (H, W) `size`.

    kind: "params", "macs" or "latency"; unit: "parameters", "multiply-adds" or "ms", of all numbers here.
    edges: E open edges in the order of `Genotype.open_edges`; candidates: of each. fixed: what no choice changes.
    table: float64 [E, O], O the most candidates of an edge, zeros beyond an edge's own.
    graph: of the space; where it is given, the cheapest network is none that ignores the image.

    >>> import nas.cost, search_spaces
    >>> space = search_spaces.fusion_cells("tiny", 8, ["none", "skip_connect", "conv_3x3"])
    >>> table = nas.cost.cost_table(space, "params")
    >>> everywhere = dict.fromkeys(table.edges, "conv_3x3")
    >>> table.of(everywhere) == nas.cost.count(space.decide(everywhere)).params
    True
    """

    space: str
    kind: str
    unit: str
    size: tuple[int, int]
    edges: tuple[str, ...]
    candidates: tuple[tuple[str, ...], ...]
    fixed: float
    table: torch.Tensor
    graph: Graph | None = None

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Open edge -> candidates."""
        return dict(zip(self.edges, self.candidates, strict=True))

    @classmethod
    def of_rows(
        cls, space: Genotype, kind: str, size: tuple[int, int], fixed: float, rows: Mapping[str, Mapping[str, float]]
    ) -> "CostTable":
        """The table of a space; rows: open edge -> candidate -> cost."""
        open_edges = space.open_edges()
        table = torch.zeros(len(open_edges), max(map(len, open_edges.values()), default=0), dtype=torch.float64)
        for row, (edge, ops) in enumerate(open_edges.items()):
            table[row, : len(ops)] = torch.tensor([rows[edge][op] for op in ops], dtype=torch.float64)
        return cls(
            space=space.name,
            kind=kind,
            unit=COST_KINDS[kind],
            size=size,
            edges=tuple(open_edges),
            candidates=tuple(open_edges.values()),
            fixed=fixed,
            table=table,
            graph=space.graph,
        )

    def of(self, choices: Mapping[str, str]) -> float:
        """The cost of the whole network; choices: a candidate for every edge. KeyError for one left out."""
        cost = self.fixed
        for edge, ops, row in zip(self.edges, self.candidates, self.table.tolist(), strict=True):
            cost += row[ops.index(choices[edge])]
        return cost

    def expected(self, weights: torch.Tensor) -> torch.Tensor:
        """The expected cost, a scalar, where each edge draws its candidate with probabilities weights [E, O].

        Rows are divided by their sums first: some strategies scale them. Differentiable in the weights.
        """
        sums = weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        return self.fixed + (weights / sums * _copy(self.table, weights.dtype, weights.device)).sum()

    def cheapest(self, exclude: Collection[str] = ()) -> dict[str, str]:
        """The choices that cost least, among candidates that are not excluded; UserError if an edge has no other."""
        rows = self.rows(exclude)
        choices = _cheapest(rows)
        return choices if self.graph is None else self.graph.reconnect(choices, rows)[0]

    def rows(self, exclude: Collection[str] = ()) -> dict[str, dict[str, float]]:
        """Edge -> candidate that is not excluded -> cost; UserError for an edge that has only excluded ones."""
        found = {
            edge: {op: cost for op, cost in zip(ops, row, strict=False) if op not in exclude}
            for edge, ops, row in zip(self.edges, self.candidates, self.table.tolist(), strict=True)
        }
        for edge, row in found.items():
            if not row:
                raise UserError(
                    f"{edge} has no candidate but {', '.join(exclude)}: nothing is left when that is excluded"
                )
        return found


@lru_cache(maxsize=16)
def _copy(table: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Made once: a step that copied it from the host would wait for the device."""
    return table.to(device, dtype)


def cost_table(
    space: Genotype,
    kind: str,
    *,
    device: str | torch.device = "cpu",
    size: tuple[int, int] | None = None,
    cache: Path | None = None,
    repeats: int = 50,
) -> CostTable:
    """The cost of each candidate of a genotype with open edges, for one image of (H, W) `size` (None: its own).

    kind: "params" or "macs" are counted, in a second or two, and exact. "latency" is measured on the device as
    `nas.cost.measure` measures, in the deployed form, each candidate `repeats` times; an entry includes the edge's
    resampling. cache: a folder that keeps measured tables for each machine, number of threads and version of torch;
    with a table of this space and size in it, nothing is measured; what is measured while the machine is busy does not
    get there. It knows a plugin's operation by its name: after a change of what that computes, delete the cache.

    Raises UserError for an unknown kind, a size below 32, open widths, an absent device, a cache that is none, and
    where memory does not suffice.
    """
    if kind not in COST_KINDS:
        raise UserError(f"unknown cost {kind!r}; there are: {', '.join(COST_KINDS)}")
    if repeats < 1:
        raise UserError(f"repeats {repeats}: expected 1 or more")
    size = parse_size(size) or space.input.size
    if kind == "latency":
        fixed, rows = _latencies(space, size, open_device(str(device)), cache, repeats)
    else:
        fixed, rows = _counts(space, kind, size)
    return CostTable.of_rows(space, kind, size, fixed, rows)


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
    for start, prices in ((found, losses), (_cheapest(costs), costs)):
        _, way = table.graph.reconnect(start, prices)
        kept = {
            edge: {op: cost for op, cost in row.items() if edge not in way or not OPERATIONS[op].zero}
            for edge, row in costs.items()
        }
        if table.fixed + sum(min(row.values()) for row in kept.values()) <= budget:
            break
    return _most_probable(kept, scores, table, budget)


def _latencies(
    space: Genotype, size: tuple[int, int], device: torch.device, cache: Path | None, repeats: int
) -> tuple[float, dict[str, dict[str, float]]]:
    kept = None if cache is None else LatencyCache(cache, device)
    key = f"{space.hash} {size[0]}x{size[1]}"
    known = kept.get(key, space.open_edges()) if kept else None
    if known is not None:
        return known
    with warn_if_busy("latencies mislead, and are not kept for other runs") as others:
        found = measure_latencies(space, size, device, repeats)[:2]
    if kept is not None and not others.warning:
        kept.put(key, *found)
    return found


def _counts(space: Genotype, kind: str, size: tuple[int, int]) -> tuple[float, dict[str, dict[str, float]]]:
    places, open_edges = find_places(space, size), space.open_edges()
    kinds = {(op, places[edge]) for edge, candidates in open_edges.items() for op in candidates}
    counted = {(op, place): count_one(op, place, kind) for op, place in kinds}
    rows = {edge: {op: counted[op, places[edge]] for op in candidates} for edge, candidates in open_edges.items()}
    choices = some_choices(space)
    whole = getattr(count(space.decide(choices), size), kind)
    return float(whole - sum(rows[edge][op] for edge, op in choices.items())), rows


def count_one(op: str, place: Place, kind: str) -> float:
    with torch.device("meta"), torch.no_grad():
        module = PlacedOperation(op, place).eval()
        if kind == "params":
            return sum(p.numel() for p in module.parameters())
        x, total = torch.empty(1, place.in_width, *place.source), torch.empty(1, place.width, *place.target)
        with ShapesOnly(), FlopCounterMode(display=False) as counter:  # sums, too, have no multiply-adds as we count
            module(x, total)
    return int(counter.get_total_flops()) // 2  # torch counts a multiply-add as 2


def _cheapest(rows: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    return {edge: min(row, key=row.__getitem__) for edge, row in rows.items()}


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
