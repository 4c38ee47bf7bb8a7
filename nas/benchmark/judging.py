"""What briefly trained members say about their space: how much there is to find, and beside which rival."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genotypes import Genotype, UserError
from genotypes.errors import plural
from genotypes.files import write_csv
from nas.run_files import read_json
from nas.visualize.charts import CostPoint, on_one_figure, pareto, save_figure, trade_off

__all__ = [
    "COSTS",
    "Cost",
    "GateReport",
    "Trained",
    "draw_gate",
    "gate_chart",
    "judge",
    "read_members",
    "write_members",
]

Cost = Literal["macs", "ms"]
COSTS: Mapping[Cost, str] = {"macs": "multiply-adds", "ms": "milliseconds"}


_WHOLE = ("number", "seed", "size", "params", "macs")  # of a training


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One training. kind: "line" or "random"; number: of the member; macs, ms: at its own size.

    ms: milliseconds of the deployed form for one picture, on one thread; None where it was not timed.
    """

    kind: str
    number: int
    seed: int
    choices: Mapping[str, Any]
    size: int
    params: int
    macs: int
    loss: float
    maxF: float
    MAE_raw: float
    ms: float | None = None

    @property
    def diverged(self) -> bool:
        """Whether its training ended in no network: its scores are `nas.training.DIVERGED_SCORES`."""
        return not math.isfinite(self.loss)

    def cost(self, kind: Cost) -> float:
        """Its multiply-adds or milliseconds; UserError where it was not timed."""
        value = getattr(self, kind)
        if value is None:
            raise UserError(f"{self.kind} {self.number} was not timed")
        return float(value)


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the trainings say; scores are MAE_raw, costs those of the members at their own sizes.

    ratio: R, the spread of random members about the line over `seed_spread`; ratio_best: without the worst third. Both
    of the members within the line's range of costs, None where these are fewer than 3: beyond it there is no line to
    compare with, only its end. beyond: the numbers of the others; ratio_all: R with them. diverged: the numbers of
    members that are left out of everything.
    seed_spread: standard deviation between two seeds of one member. residuals: of each random member, MAE_raw minus the
    line's at its cost (beyond the range: at the nearer end). factors: its cost over the line's at its MAE; None where
    the line has no such MAE. winners: members that beat the line by twice the seed spread, and cost no more than its
    dearest point. explained: choice -> share of the variance of the residuals within the range; by_chance: what one
    without any effect explains on average, which grows with the number of its words.
    """

    cost: Cost
    ratio: float | None
    ratio_best: float | None
    ratio_all: float
    beyond: tuple[int, ...]
    diverged: tuple[int, ...]
    seed_spread: float
    residuals: tuple[float, ...]
    factors: tuple[float | None, ...]
    winners: tuple[int, ...]
    explained: Mapping[str, float]
    by_chance: Mapping[str, float]

    def lines(self) -> list[str]:
        """The report as text, for its cost."""
        inside = [factor for factor in self.factors if factor is not None]
        costs = (
            f"{min(inside):.2f}x to {max(inside):.2f}x, median {median(inside):.2f}x" if inside else "an unknown share"
        )
        if self.ratio is None:
            verdict = f"unknown: R takes 3 members within the line's range of {COSTS[self.cost]}; give more --members"
        else:
            much = "something" if self.ratio >= 4 and len(self.winners) >= 2 else "little"
            verdict = f"{much} to find (R of 4 and two winners are asked for)"
        members, judged = len(self.residuals), len(self.residuals) - len(self.beyond)
        found = [
            f"R       {_ratio_text(self.ratio)} (without the worst third {_ratio_text(self.ratio_best)}) of the "
            f"{plural(judged, 'member')} within the line's range of {COSTS[self.cost]}; {self.ratio_all:.1f} of all "
            f"{members}; seed spread {self.seed_spread:.4f} MAE_raw",
            f"costs   {costs} of the line's {COSTS[self.cost]} at equal MAE_raw; {members - len(inside)} of {members} "
            "members have an MAE_raw that the line has nowhere",
            f"winners {len(self.winners)} of {members} members, below the line by twice the seed spread"
            + (f": {', '.join(map(str, self.winners))}" if self.winners else ""),
        ]
        if self.diverged:
            numbers = ", ".join(map(str, self.diverged))
            found.append(f"left out {plural(len(self.diverged), 'member')} that diverged: {numbers}")
        if self.explained:
            shares = ((choice, share, self.by_chance[choice]) for choice, share in self.explained.items())
            best = sorted(shares, key=lambda row: row[2] - row[1])[:6]
            told = (f"{choice} {share:.0%} (by chance {chance:.0%})" for choice, share, chance in best)
            found.append(f"choices {', '.join(told)} of what the cost does not explain")
        found.append(f"verdict {verdict}")
        return found


def judge(rows: Iterable[Trained], cost: Cost = "macs") -> GateReport:
    """Judge the members by the line; UserError where line, members or repeats are too few."""
    trained = list(rows)
    diverged = tuple(row.number for row in trained if row.diverged and row.kind == "random" and row.seed == 0)
    rows = [row for row in trained if not row.diverged]
    scaled = [row for row in rows if row.kind == "line" and row.seed == 0]
    line = _envelope(scaled, cost)
    members = [row for row in rows if row.kind == "random" and row.seed == 0]
    first = {(row.kind, row.number): row for row in rows if row.seed == 0}
    pairs = [
        (first[row.kind, row.number].MAE_raw, row.MAE_raw)
        for row in rows
        if row.seed > 0 and (row.kind, row.number) in first
    ]
    if len(scaled) < 2 or len(members) < 3 or not pairs:
        which = " that did not diverge" if len(rows) < len(trained) else ""
        raise UserError(
            "expected a line of 2 points or more, 3 members and 1 repeat, "
            f"not {len(scaled)}, {len(members)} and {len(pairs)}{which}"
        )
    spread = math.sqrt(mean((a - b) ** 2 / 2 for a, b in pairs))
    costs, scores = np.log([row.cost(cost) for row in line]), np.array([row.MAE_raw for row in line])
    residuals = [row.MAE_raw - float(np.interp(math.log(row.cost(cost)), costs, scores)) for row in members]
    factors = []
    for row in members:
        equal = float(np.exp(np.interp(row.MAE_raw, scores[::-1], costs[::-1])))
        factors.append(row.cost(cost) / equal if scores[-1] <= row.MAE_raw <= scores[0] else None)
    prices = [row.cost(cost) for row in scaled]
    least, most = min(prices), max(prices)
    inside = [row for row in members if least <= row.cost(cost) <= most]
    judged = [residual for row, residual in zip(members, residuals, strict=True) if row in inside]
    kept = sorted(judged)[: math.ceil(len(judged) * 2 / 3)]
    explained = _explained(inside, judged)
    return GateReport(
        cost=cost,
        ratio=_ratio(judged, spread) if len(judged) > 2 else None,
        ratio_best=_ratio(kept, spread) if len(judged) > 2 else None,
        ratio_all=_ratio(residuals, spread),
        beyond=tuple(row.number for row in members if row not in inside),
        diverged=diverged,
        seed_spread=spread,
        residuals=tuple(residuals),
        factors=tuple(factors),
        winners=tuple(
            row.number
            for row, residual in zip(members, residuals, strict=True)
            if residual < -2 * spread and row.cost(cost) <= most
        ),
        explained={choice: share for choice, (share, _) in explained.items()},
        by_chance={choice: chance for choice, (_, chance) in explained.items()},
    )


def _ratio(residuals: Sequence[float], seed_spread: float) -> float:
    return float(np.std(residuals, ddof=1)) / seed_spread if seed_spread > 0 else math.inf


def _ratio_text(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.1f}"


def _envelope(rows: Iterable[Trained], cost: Cost) -> list[Trained]:
    """From the cheapest to the dearest those that no cheaper one beats: the line's lower envelope."""
    return pareto(rows, lambda row: row.cost(cost), lambda row: row.MAE_raw)


def _explained(members: Sequence[Trained], residuals: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Choice -> share of the residuals' variance that a straight line in it explains (of words, a mean for each), and
    the share by chance: as many of the n - 1 degrees of freedom as are fitted.
    """
    if len(members) < 3:
        return {}
    y = np.array(residuals) - mean(residuals)
    total = float((y**2).sum()) or 1.0
    found: dict[str, tuple[float, float]] = {}
    for choice in members[0].choices:
        values = [row.choices[choice] for row in members]
        if (different := len(set(values))) < 2:
            continue
        if all(isinstance(value, int) for value in values):
            x = np.array(values, float) - np.mean(values)
            share, fitted = float((x @ y) ** 2 / (x @ x) / total), 1
        else:
            groups = [y[[value == other for other in values]] for value in dict.fromkeys(values)]
            share, fitted = float(sum(len(group) * group.mean() ** 2 for group in groups) / total), different - 1
        found[choice] = share, fitted / (len(members) - 1)
    return found


def draw_gate(rows: Sequence[Trained], reports: Sequence[GateReport], path: Path, *, title: str = "") -> None:
    """`gate_chart` of each report side by side, as a file."""
    figure = on_one_figure([partial(gate_chart, rows, report) for report in reports], len(reports), width=7, height=4.5)
    figure.suptitle(title)
    save_figure(figure, path)


def gate_chart(rows: Sequence[Trained], report: GateReport, *, panel: Axes | None = None) -> Figure:
    """MAE against the report's cost: random members by number and input size, beside every point of uniform scaling.

    Of the first seed; trainings that diverged are left out.
    """

    def points(kind: str) -> list[CostPoint]:
        first = [row for row in rows if row.kind == kind and row.seed == 0 and not row.diverged]
        points = [CostPoint(x=row.cost(report.cost), y=row.MAE_raw) for row in first]
        if kind == "line":
            return points
        return [
            replace(point, label=str(row.number), group=f"{row.size} px")
            for row, point in sorted(zip(first, points, strict=True), key=lambda pair: pair[0].size)
        ]

    members = len(report.residuals)
    return trade_off(
        points("random"),
        title=f"R {_ratio_text(report.ratio)} ({members - len(report.beyond)} of {plural(members, 'member')})",
        xlabel=f"{COSTS[report.cost]} at the member's own size",
        ylabel="held-out MAE_raw",
        beside={"uniform scaling": points("line")},
        panel=panel,
    )


def read_members(path: Path, space: Genotype | None = None) -> list[Trained]:
    """The trainings in a gate's members.json, as far as it came; UserError where it is something else.

    space: whose members they must be.
    """
    noted = read_json(path) if path.is_file() else []
    try:
        if not isinstance(noted, list):
            raise TypeError(f"expected a list, not {type(noted).__name__}")
        rows = [_trained(row) for row in noted]
        if space is not None:
            for row in rows:
                space.decide(row.choices)
        return rows
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not the trainings of a gate of this version ({error}); choose another --out"
        ) from None


def _trained(noted: Any) -> Trained:
    """A row of members.json; TypeError or ValueError for anything else."""
    # Null is the loss of what diverged, and the time of what was not timed.
    row = Trained(**{"loss": math.inf} | {name: value for name, value in dict(noted).items() if value is not None})
    least = {"number": 0, "seed": 0, "size": 1, "params": 1, "macs": 1, "loss": 0, "maxF": 0, "MAE_raw": 0}
    for name, bound in least.items() if row.ms is None else (least | {"ms": 1e-9}).items():
        value, kind = getattr(row, name), int if name in _WHOLE else int | float
        if isinstance(value, bool) or not isinstance(value, kind) or not (bound <= value < 1e18 or value == math.inf):
            raise ValueError(f"{name} {value!r}")
    if row.kind not in ("line", "random") or not isinstance(row.choices, dict):
        raise ValueError(f"kind {row.kind!r}, choices {row.choices!r}")
    return row


def write_members(rows: Sequence[Trained], path: Path) -> None:
    choices = list(dict.fromkeys(choice for row in rows for choice in row.choices))
    head = ("kind", "number", "seed", "size", "params", "macs", "ms", "loss", "maxF", "MAE_raw")
    cells = [
        [*(getattr(row, name) for name in head), *(row.choices.get(choice, "") for choice in choices)] for row in rows
    ]
    write_csv(path, [[*head, *choices], *cells])
