"""What a network costs whose widths are open: a function of the widths that a mixture gives it on average.

The parameters and the multiply-adds of an operation are bilinear in the widths that it reads and delivers. So the cost
of a mixture is that of its mean widths, weighted by the operations' probabilities (the effective shape of FBNetV2, Wan
et al., CVPR 2020, section 3.2): differentiable, and a member's own where everything is decided.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genotypes import OPERATIONS, Genotype, Node, UserError
from nas.cost.counting import count
from nas.cost.lookup import COST_KINDS, count_one
from nas.cost.places import Place, find_places, some_choices
from nas.network import extreme, supernet_genotype
from nas.network.widths import Masks, OpenWidths
from search_spaces.steps import build_post

__all__ = ["WidthCosts"]

_LIKELY = math.log(0.5)  # candidates that are more likely than half the most probable one spend a budget


class _Change(NamedTuple):
    """A choice made otherwise: what all then costs, and the logarithm of the candidate's probability over that of the
    one that it replaces (gain), and over that of the most probable one (behind).
    """

    choice: str
    taken: Any
    cost: float
    gain: float
    behind: float


class _Term(NamedTuple):
    """A part's cost: with probability p (of candidate `place` in a mixture's row; None: 1) it is
    a + b * read + c * delivered + d * read * delivered, where these are mean widths, by their place in a list.
    """

    a: float = 0.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    read: int = 0
    delivered: int = 0
    place: tuple[int, int] | None = None


class WidthCosts:
    """The costs of a space with open widths for one image of the space's size.

    kind: "params" or "macs"; unit: of all numbers here. choices: id -> candidates, in the order of a mixture's rows.

    Raises UserError for latency: the times of parts do not follow from their widths.

    >>> import nas.cost, search_spaces
    >>> space = search_spaces.compact("mobilenet_v2", sizes=(64,), leave_out="none")
    >>> costs = WidthCosts(space, "macs")
    >>> smallest = costs.cheapest()
    >>> costs.of(smallest) == nas.cost.count(space.decide(smallest)).macs == round(costs.estimate(smallest))
    True
    """

    def __init__(self, space: Genotype, kind: str) -> None:
        if kind == "latency":
            raise UserError(
                f"latency: {space.name} leaves widths open, and times of parts do not follow from their widths; take "
                "--cost macs, or --strategy sandwich, which times whole networks"
            )
        self.space, self.kind, self.unit, self.size = space, kind, COST_KINDS[kind], space.input.size
        self._widths = OpenWidths(space)
        edges = space.open_edges()
        self._edges = len(edges)
        self.choices: dict[str, tuple[Any, ...]] = {**edges, **self._widths.choices}
        self._most = max(map(len, self.choices.values()))
        self._known: dict[tuple[Any, ...], float] = {}
        # A mean width: the constant 1, a sum of a feature's mask, or the first or all of a block's.
        self._means: list[tuple[str, slice | None, float]] = [("", None, 1.0)]
        self._where: dict[tuple[str, int, int], int] = {}
        terms = [*self._of_cells(), *self._of_blocks()]
        self._numbers = torch.tensor([term[:4] for term in terms], dtype=torch.float64)
        self._reads = torch.tensor([[term.read, term.delivered] for term in terms])
        places = [0 if term.place is None else 1 + term.place[0] * self._most + term.place[1] for term in terms]
        self._places = torch.tensor(places)
        self._fixed = 0.0
        largest = {choice: max(found) for choice, found in self._widths.choices.items()} | some_choices(space)
        self._fixed = self.of(largest) - self.estimate(largest)

    def of(self, choices: Mapping[str, Any]) -> float:
        """The cost of a member, counted."""
        key = tuple(choices[choice] for choice in self.choices)
        if key not in self._known:
            self._known[key] = float(getattr(count(self.space.decide(choices)), self.kind))
        return self._known[key]

    def expected(self, weights: Tensor) -> Tensor:
        """The cost of a mixture, a scalar; weights: float[choices, most candidates], of which rows are divided by their
        sums. Differentiable in the weights.
        """
        if self._numbers.device != weights.device:
            self._widths.to(weights.device)
            self._numbers, self._reads, self._places = (
                tensor.to(weights.device) for tensor in (self._numbers, self._reads, self._places)
            )
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
        masks = self._widths(weights[self._edges :])
        means = torch.stack([self._mean(*which, masks, weights) for which in self._means])
        p = torch.cat([weights.new_ones(1), weights.flatten()])[self._places]
        read, delivered = means[self._reads].unbind(1)
        a, b, c, d = self._numbers.to(weights.dtype).unbind(1)
        return self._fixed + (p * (a + b * read + c * delivered + d * read * delivered)).sum()

    def estimate(self, choices: Mapping[str, Any]) -> float:
        """The cost of a member, by the same function."""
        return float(self.expected(self._one_hot([choices])[0]))

    def cheapest(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """The choices that cost least, among candidates that are not excluded."""
        least = extreme(self.space, "smallest")
        edges = {edge: self._allowed(exclude)[edge] for edge in self.space.open_edges()}
        tried = [(edge, op) for edge, ops in edges.items() for op in ops]
        prices: dict[str, dict[str, float]] = {edge: {} for edge in edges}
        for (edge, op), price in zip(tried, self._estimates([{**least, edge: op} for edge, op in tried]), strict=True):
            prices[edge][op] = price
        least |= {edge: min(row, key=row.__getitem__) for edge, row in prices.items()}
        return self.space.graph.reconnect(least, prices)[0]

    def most_probable(
        self, probabilities: Mapping[str, Mapping[Any, float]], budget: float, exclude: Collection[str] = ()
    ) -> dict[str, Any]:
        """Probable choices that cost at most `budget`, and nearly that: the most probable ones, changed one by one.

        While they cost more, the next change is the one that loses least of the logarithm of the probability for what
        it saves of the excess. Then what gains probability and keeps the budget is taken, the most first. What is left
        of the budget goes to candidates more than half as probable as those chosen, the least loss for the cost first:
        a mixture that is not decided costs more than its most probable member, whose rivals spend the budget.

        UserError where even the cheapest costs more.
        """
        found = self._allowed(exclude)
        scores = {
            choice: {taken: math.log(max(probabilities[choice][taken], 1e-30)) for taken in there}
            for choice, there in found.items()
        }
        limit = budget
        while True:
            chosen = self._within(scores, limit)
            if chosen is None:
                raise UserError(
                    f"no network of {self.space.name} meets the budget of {budget:,.10g} {self.unit}: the cheapest "
                    f"costs {self.of(self.cheapest(exclude)):,.10g}"
                )
            if (excess := self.of(chosen) - budget) <= 0:
                return chosen
            limit -= excess  # where the function is no member's exact cost

    def _within(self, scores: Mapping[str, Mapping[Any, float]], limit: float) -> dict[str, Any] | None:
        """See `most_probable`; None where nothing costs so little."""
        chosen = {choice: max(row, key=row.__getitem__) for choice, row in scores.items()}
        if not self.space.reaches_image(chosen):
            prices = {edge: {op: -score for op, score in scores[edge].items()} for edge in self.space.open_edges()}
            chosen, _ = self.space.graph.reconnect(chosen, prices)
        cost, spending = self.estimate(chosen), False
        while True:
            changes = self._changes(scores, chosen)
            if cost > limit:
                ranks = [(min(cost - c.cost, cost - limit) / max(1e-9, -c.gain), c) for c in changes if c.cost < cost]
                if not ranks:
                    return None
            elif not spending:
                ranks = [(c.gain, c) for c in changes if c.gain > 0 and c.cost <= limit]
                spending = not ranks
            else:
                likely = [c for c in changes if c.behind > _LIKELY and cost < c.cost <= limit]
                ranks = [((c.cost - cost) / max(1e-9, -c.gain), c) for c in likely]
                if not ranks:
                    return chosen
            if ranks:
                _, best = max(ranks, key=lambda pair: pair[0])
                chosen, cost = {**chosen, best.choice: best.taken}, best.cost

    def _changes(self, scores: Mapping[str, Mapping[Any, float]], chosen: Mapping[str, Any]) -> list[_Change]:
        """All that differ in one choice and still see the image."""
        made = [{**chosen, choice: taken} for choice, row in scores.items() for taken in row if taken != chosen[choice]]
        made = [choices for choices in made if self.space.reaches_image(choices)]
        found = []
        for choices, cost in zip(made, self._estimates(made), strict=True):
            choice = next(choice for choice in choices if choices[choice] != chosen[choice])
            row, taken = scores[choice], choices[choice]
            gain, behind = row[taken] - row[chosen[choice]], row[taken] - max(row.values())
            found.append(_Change(choice, taken, cost, gain, behind))
        return found

    def _allowed(self, exclude: Collection[str]) -> dict[str, list[Any]]:
        return {choice: [one for one in found if one not in exclude] for choice, found in self.choices.items()}

    def _estimates(self, many: Sequence[Mapping[str, Any]]) -> list[float]:
        if not many:
            return []
        costs: list[float] = torch.vmap(self.expected)(self._one_hot(many)).tolist()
        return costs

    def _one_hot(self, many: Sequence[Mapping[str, Any]]) -> Tensor:
        """[choices made, choices, most candidates]."""
        rows = [[found.index(made[choice]) for choice, found in self.choices.items()] for made in many]
        hot = torch.nn.functional.one_hot(torch.tensor(rows), self._most)
        return hot.to(self._numbers)

    def _mean(self, name: str, part: slice | None, fixed: float, masks: Masks, like: Tensor) -> Tensor:
        if name.startswith("backbone."):
            mask = masks.blocks[int(name.removeprefix("backbone."))]
        elif name in masks.features:
            mask = masks.features[name]
        else:
            return like.new_full((), fixed)  # made on the device
        return (mask if part is None else mask[part]).sum()

    def _index(self, name: str, first: int, count: int) -> int:
        """Where the mean width of these channels of a feature (or block) stands in the list."""
        key = name, first, count
        if key not in self._where:
            self._where[key] = len(self._means)
            self._means.append((name, slice(first, first + count), float(count)))
        return self._where[key]

    def _of_cells(self) -> list[_Term]:
        places = find_places(self.space, self.size, decided=True)
        rows = {edge: row for row, edge in enumerate(self.space.open_edges())}
        counted: dict[tuple[str, Place], _Term] = {}
        terms = []
        for name, node in self.space.graph.nodes.items():
            first = 0
            for edge in node.edges:
                assert edge.width is not None
                delivered = self._index(name, first, edge.width)
                first += edge.width if node.combine == "concat" else 0
                read = self._index(edge.source, 0, self.space.graph[edge.source].width)
                for column, op in enumerate(edge.candidates):
                    kind = op, replace(places[edge.id], adds=False, alone=True)
                    if kind not in counted:
                        counted[kind] = _fitted(*kind, self.kind)
                    place = (rows[edge.id], column) if edge.is_open else None
                    terms.append(counted[kind]._replace(read=read, delivered=delivered, place=place))
            if self.kind == "params" and node.post != "none":
                terms.append(_post(node)._replace(delivered=self._index(name, 0, node.width)))
        return terms

    def _of_blocks(self) -> list[_Term]:
        terms = []
        space = supernet_genotype(self.space).decide(some_choices(self.space))
        whole = space.backbone

        def backbone(block: int, width: int) -> float:
            assert whole is not None
            widths = (*whole.hidden[:block], width, *whole.hidden[block + 1 :])
            parts = count(space.replace(backbone=replace(whole, widths=widths))).by_cell
            return float(next(getattr(part, self.kind) for part in parts if part.kind == "backbone"))

        blocks = {
            int(choice.split(".")[2]): candidates
            for choice, candidates in self._widths.choices.items()
            if choice.startswith("backbone.")
        }
        full = backbone(0, whole.hidden[0]) if whole and blocks else 0.0
        for block, candidates in blocks.items():
            *_, less, most = sorted(candidates)
            each = (full - backbone(block, less)) / (most - less)
            whole_block = full - backbone(block, 0) - each * most if 0 in candidates else 0.0
            name = f"backbone.{block}"
            present, hidden = self._index(name, 0, 1), self._index(name, 0, most)
            terms.append(_Term(b=whole_block, c=each, read=present, delivered=hidden))
        return terms


def _fitted(op: str, place: Place, kind: str) -> _Term:
    """The cost of an operation by its widths: exact where that is bilinear, and at the place's own widths always."""
    if OPERATIONS[op].zero:
        return _Term()
    read, wide = place.in_width, place.width

    def at(reads: int, delivers: int) -> float:
        return count_one(op, replace(place, in_width=reads * read, width=delivers * wide), kind)

    if OPERATIONS[op].widths == "same":
        once, twice, thrice = at(1, 1), at(2, 2), at(3, 3)
        square = (thrice - 2 * twice + once) / 2
        line = twice - once - 3 * square
        return _Term(a=once - line - square, b=line / read, d=square / (read * wide))
    once, more_read, wider, both = at(1, 1), at(2, 1), at(1, 2), at(2, 2)
    product = both - more_read - wider + once
    by_read, by_width = more_read - once - product, wider - once - product
    return _Term(a=once - product - by_read - by_width, b=by_read / read, c=by_width / wide, d=product / (read * wide))


def _post(node: Node) -> _Term:
    """A post step's parameters, which are some for each channel."""

    def params(width: int) -> int:
        return sum(p.numel() for p in build_post(node.post, width).parameters())

    each = (params(2 * node.width) - params(node.width)) / node.width
    return _Term(a=params(node.width) - each * node.width, c=each)
