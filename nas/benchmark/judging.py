"""What briefly trained members say about their space: how much there is to find, and beside which rival."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genotypes import UserError
from nas.run import write_atomically

__all__ = ["COSTS", "Cost", "GateReport", "Trained", "draw_gate", "judge", "write_members"]

Cost = Literal["macs", "ms"]
COSTS: Mapping[Cost, str] = {"macs": "multiply-adds", "ms": "milliseconds"}

_COLOURS = ("#56b4e9", "#009e73", "#e69f00", "#d55e00")


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
    MAE: float
    ms: float | None = None

    def cost(self, kind: Cost) -> float:
        """UserError where it is not known."""
        value = getattr(self, kind)
        if value is None:
            raise UserError(f"{self.kind} {self.number} was not timed")
        return float(value)


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the trainings say; scores are MAE, costs those of the members at their own sizes.

    ratio: R, the spread of random members about the line over `seed_spread`; ratio_best: without the worst third.
    seed_spread: standard deviation between two seeds of one member. residuals: of each random member, MAE minus the
    line's at its cost. factors: its cost over the line's at its MAE; None beyond the line's ends.
    winners: members that beat the line by twice the seed spread. explained: choice -> share of the residuals' variance.
    """

    cost: Cost
    ratio: float
    ratio_best: float
    seed_spread: float
    residuals: tuple[float, ...]
    factors: tuple[float | None, ...]
    winners: tuple[int, ...]
    explained: Mapping[str, float]

    def lines(self) -> list[str]:
        """The report as text, for its cost."""
        inside = [factor for factor in self.factors if factor is not None]
        costs = f"{min(inside):.2f}x to {max(inside):.2f}x, median {median(inside):.2f}x" if inside else "none within"
        verdict = "something to find" if self.ratio >= 4 and len(self.winners) >= 2 else "little to find"
        found = [
            f"R       {self.ratio:.1f} (without the worst third {self.ratio_best:.1f}), "
            f"seed spread {self.seed_spread:.4f} MAE",
            f"costs   {costs} of the line's {COSTS[self.cost]} at equal MAE; {len(self.factors) - len(inside)} of "
            f"{len(self.factors)} members lie beyond the line's ends",
            f"winners {len(self.winners)} members beat the line by twice the seed spread"
            + (f": {', '.join(map(str, self.winners))}" if self.winners else ""),
        ]
        chance = 1 / max(1, len(self.residuals) - 1)
        best = sorted(self.explained.items(), key=lambda item: -item[1])[:6]
        explained = ", ".join(f"{way} {share:.0%}" for way, share in best)
        found.append(f"choices {explained} of what the cost does not explain (chance: {chance:.0%} each)")
        found.append(f"verdict {verdict} (R of 4 and two winners are asked for)")
        return found


def judge(rows: Iterable[Trained], cost: Cost = "macs") -> GateReport:
    """Judge the members by the line; UserError where line, members or repeats are too few."""
    rows = list(rows)
    line = _envelope([row for row in rows if row.kind == "line" and row.seed == 0], cost)
    members = [row for row in rows if row.kind == "random" and row.seed == 0]
    first = {(row.kind, row.number): row for row in rows if row.seed == 0}
    pairs = [(first[row.kind, row.number].MAE, row.MAE) for row in rows if row.seed > 0]
    if len(line) < 2 or len(members) < 3 or not pairs:
        raise UserError(
            "expected a line of 2 points or more, 3 members and 1 repeat, "
            f"not {len(line)}, {len(members)} and {len(pairs)}"
        )
    spread = math.sqrt(mean((a - b) ** 2 / 2 for a, b in pairs))
    costs, scores = np.log([row.cost(cost) for row in line]), np.array([row.MAE for row in line])
    residuals = [row.MAE - float(np.interp(math.log(row.cost(cost)), costs, scores)) for row in members]
    factors = []
    for row in members:
        inside = scores[-1] <= row.MAE <= scores[0]
        equal = float(np.exp(np.interp(row.MAE, scores[::-1], costs[::-1])))
        factors.append(row.cost(cost) / equal if inside else None)
    kept = sorted(residuals)[: max(2, math.ceil(len(residuals) * 2 / 3))]
    return GateReport(
        cost=cost,
        ratio=_ratio(float(np.std(residuals, ddof=1)), spread),
        ratio_best=_ratio(float(np.std(kept, ddof=1)), spread),
        seed_spread=spread,
        residuals=tuple(residuals),
        factors=tuple(factors),
        winners=tuple(row.number for row, residual in zip(members, residuals, strict=True) if residual < -2 * spread),
        explained=_explained(members, residuals),
    )


def _ratio(spread: float, of: float) -> float:
    return spread / of if of > 0 else math.inf


def _envelope(rows: Iterable[Trained], cost: Cost) -> list[Trained]:
    """From the cheapest to the dearest those that no cheaper one beats: the line's lower envelope."""
    best: list[Trained] = []
    for row in sorted(rows, key=lambda row: (row.cost(cost), row.MAE)):
        if not best or row.MAE < best[-1].MAE:
            best.append(row)
    return best


def _explained(members: Sequence[Trained], residuals: Sequence[float]) -> dict[str, float]:
    """Choice -> share of the residuals' variance that a straight line in it explains; of words, a mean for each."""
    y = np.array(residuals) - mean(residuals)
    total = float((y**2).sum()) or 1.0
    found = {}
    for way in members[0].choices:
        values = [row.choices[way] for row in members]
        if len(set(values)) < 2:
            continue
        if all(isinstance(value, int) for value in values):
            x = np.array(values, float) - np.mean(values)
            found[way] = float((x @ y) ** 2 / (x @ x) / total)
        else:
            groups = [y[[value == other for other in values]] for value in dict.fromkeys(values)]
            found[way] = float(sum(len(group) * group.mean() ** 2 for group in groups) / total)
    return found


def draw_gate(rows: Sequence[Trained], reports: Sequence[GateReport], path: Path, *, title: str = "") -> None:
    """MAE against the cost of each report: the line, every point of it, and every random member by its input size."""
    figure = Figure(figsize=(7 * len(reports), 4.5), layout="constrained")
    for axes, report in zip(figure.subplots(1, len(reports), squeeze=False)[0], reports, strict=True):
        _draw_cost(axes, rows, report)
    figure.suptitle(title)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_cost(axes: Axes, rows: Sequence[Trained], report: GateReport) -> None:
    unit = 1e6 if report.cost == "macs" else 1.0

    def points(of: Sequence[Trained]) -> tuple[list[float], list[float]]:
        return [row.cost(report.cost) / unit for row in of], [row.MAE for row in of]

    scaled = [row for row in rows if row.kind == "line" and row.seed == 0]
    axes.plot(*points(_envelope(scaled, report.cost)), color="#1f5fa8", label="uniform scaling (lower envelope)")
    axes.plot(*points(scaled), "^", color="#1f5fa8", markersize=5, label="its points")
    members = [row for row in rows if row.kind == "random" and row.seed == 0]
    for size, colour in zip(sorted({row.size for row in members}), _COLOURS * 9, strict=False):
        axes.scatter(*points([row for row in members if row.size == size]), s=26, color=colour, label=f"{size} px")
    for row in members:
        at = (row.cost(report.cost) / unit, row.MAE)
        axes.annotate(str(row.number), at, xytext=(4, 3), textcoords="offset points", fontsize=7)
    words = {"macs": "multiply-adds (millions)", "ms": "milliseconds, deployed, one thread"}
    axes.set(xscale="log", xlabel=f"{words[report.cost]}, at the member's own size", ylabel="held-out MAE")
    axes.set_title(f"R = {report.ratio:.1f}, seed spread {report.seed_spread:.4f}", fontsize=10)
    axes.grid(color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)


def write_members(rows: Sequence[Trained], path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    ways = list(dict.fromkeys(way for row in rows for way in row.choices))
    head = ("kind", "number", "seed", "size", "params", "macs", "ms", "loss", "maxF", "MAE")
    writer.writerow([*head, *ways])
    for row in rows:
        writer.writerow([*(getattr(row, name) for name in head), *(row.choices.get(way, "") for way in ways)])
    with write_atomically(path) as file:
        file.write(text.getvalue().encode())
