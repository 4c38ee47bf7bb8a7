"""Trainings as tables and as pictures: means and spreads of each genotype, differences to the random ones' mean."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from genotypes.errors import plural
from nas.command import aligned
from nas.run_files import RANDOM, lower_is_better
from retrain.compare.runs import Training
from retrain.tables import cell, latex_table, markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "METRICS",
    "Row",
    "Statistic",
    "draw_dots",
    "draw_pictures",
    "draw_trade_off",
    "latex",
    "markdown",
    "plain",
    "rows",
    "shown",
    "training_rows",
]

METRICS = ("maxF", "MAE_raw")


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """Mean, standard deviation (n - 1; None for a single value) and number of values."""

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Statistic":
        return cls(mean=mean(values), std=stdev(values) if len(values) > 1 else None, count=len(values))

    def text(self, sign: str = "") -> str:
        return f"{self.mean:{sign}.4f}" + ("" if self.std is None else f" ± {self.std:.4f}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A genotype over its seeds, or (pooled) a group: the spread is then over its genotypes' means.

    scores: set -> metric -> Statistic. difference: the same, of each seed's score minus the mean of the random
    genotypes with that seed; empty where there are none.
    """

    label: str
    pooled: bool
    trainings: int
    params: float
    macs: float
    images_per_second: float
    latency_ms: float | None
    scores: dict[str, dict[str, Statistic]]
    difference: dict[str, dict[str, Statistic]]


def rows(trainings: Sequence[Training]) -> list[Row]:
    """A row for each genotype and for each group of two or more, best held-out maxF first."""
    labels = list(dict.fromkeys(t.label for t in trainings))
    table = [_row(label, [t for t in trainings if t.label == label], trainings, pooled=False) for label in labels]
    for group in dict.fromkeys(t.group for t in trainings):
        members = [t for t in trainings if t.group == group]
        if len({t.label for t in members}) > 1:
            table.append(_row(group, members, trainings, pooled=True))
    return sorted(table, key=lambda row: -row.scores["held_out"]["maxF"].mean)


def _row(label: str, members: list[Training], everyone: Sequence[Training], *, pooled: bool) -> Row:
    chance = {seed: [t for t in everyone if t.group == RANDOM and t.seed == seed] for seed in {t.seed for t in members}}
    scores: dict[str, dict[str, Statistic]] = {}
    difference: dict[str, dict[str, Statistic]] = {}
    for name in members[0].scores:
        scores[name], difference[name] = {}, {}
        for metric in METRICS:
            scores[name][metric] = Statistic.of(_values(members, name, metric, pooled))
            if members[0].group == RANDOM and (pooled or len({t.label for t in everyone if t.group == RANDOM}) == 1):
                continue  # it would be 0 by definition
            pairs = [
                (t.seed, t.scores[name][metric] - mean(rival.scores[name][metric] for rival in chance[t.seed]))
                for t in members
                if chance[t.seed]
            ]
            if pairs:
                seeds = sorted({seed for seed, _ in pairs})
                per_seed = [mean(value for seed, value in pairs if seed == own) for own in seeds]
                difference[name][metric] = Statistic.of(per_seed)
    return Row(
        label=label,
        pooled=pooled,
        trainings=len(members),
        params=mean(t.params for t in members),
        macs=mean(t.macs for t in members),
        images_per_second=mean(t.images_per_second for t in members),
        latency_ms=mean(times) if (times := [t.latency_ms for t in members if t.latency_ms is not None]) else None,
        scores=scores,
        difference=difference,
    )


def _values(members: list[Training], name: str, metric: str, pooled: bool) -> list[float]:
    """One value a seed; pooled: one a genotype, its mean over seeds."""
    if not pooled:
        return [t.scores[name][metric] for t in members]
    labels = dict.fromkeys(t.label for t in members)
    return [mean(t.scores[name][metric] for t in members if t.label == label) for label in labels]


def _cells(table: Sequence[Row]) -> tuple[list[str], list[list[str]], set[tuple[int, int]]]:
    """The head, the rows, and where (row, column) the best mean of each score is."""
    with_chance = any(row.difference["held_out"] for row in table)
    timed = any(row.latency_ms is not None for row in table)
    scores = [(name, metric) for name in table[0].scores for metric in METRICS]
    head = ["genotype", "trainings", *(f"{name} {metric}" for name, metric in scores)]
    head += [f"{metric} - random" for metric in METRICS] if with_chance else []
    head += ["params", "MMACs", *(["ms"] if timed else []), "images/s"]
    lines = []
    for row in table:
        cells = [f"{row.label} (all)" if row.pooled else row.label, str(row.trainings)]
        cells += [row.scores[name][metric].text() for name, metric in scores]
        if with_chance:
            gap = row.difference["held_out"]
            cells += [gap[metric].text(sign="+") if gap else "" for metric in METRICS]
        cells += [f"{row.params:,.0f}", f"{row.macs / 1e6:,.1f}"]
        if timed:
            cells.append(cell(row.latency_ms, ".1f"))
        lines.append([*cells, f"{row.images_per_second:.1f}"])
    best = set()
    for column, (name, metric) in enumerate(scores, 2):
        means = {i: row.scores[name][metric].mean for i, row in enumerate(table) if not row.pooled}
        top = (min if lower_is_better(metric) else max)(means.values())
        best |= {(i, column) for i, value in means.items() if value == top and len(means) > 1}
    return head, lines, best


def _caption(table: Sequence[Row]) -> list[str]:
    lines = [
        "maxF: F (beta² 0.3) of precision and recall averaged over the set, at the best threshold, maps stretched to",
        "0..1. MAE_raw: of maps as they are.",
    ]
    if any(row.trainings > 1 for row in table):
        pooled = "; of (all), over its genotypes' means" if any(row.pooled for row in table) else ""
        lines[-1] += f" ±: standard deviation over seeds{pooled}."
    if any(row.latency_ms is not None for row in table):
        lines.append("ms: one photograph through the network where the table was made, the shortest of ten.")
    if any(row.difference["held_out"] for row in table):
        told = "Differences are on the held-out part, to the mean of the random genotypes with the same seed"
        several = any(gap.std is not None for row in table for gap in row.difference["held_out"].values())
        lines.append(told + ("; their ± is over seeds." if several else "."))
    return lines


def markdown(table: Sequence[Row]) -> str:
    """The table with its conventions as a caption."""
    head, lines, _ = _cells(table)
    lines = [
        [f"**{row.label}** (all)" if row.pooled else cells[0], *cells[1:]]
        for row, cells in zip(table, lines, strict=True)
    ]
    return "\n".join([markdown_table(head, lines), "", *_caption(table), ""])


def shown(table: Sequence[Row]) -> str:
    """What a terminal shows: the table's columns below one another, a set's name above its first score."""
    head, lines, _ = _cells(table)
    kept = [i for i, name in enumerate(head) if name != "images/s"]  # of the training, not of the network
    over = {f"{name} {metric}": (name, metric) for name in table[0].scores for metric in METRICS}
    over |= {f"{metric} - random": ("less random", metric) for metric in METRICS}
    upper, lower = zip(*(over.get(head[i], ("", head[i])) for i in kept), strict=True)
    first = [name if name not in upper[:i] else "" for i, name in enumerate(upper)]
    rows = [first, lower, *([line[i] for i in kept] for line in lines)]
    return "\n".join([aligned(rows, right=range(1, len(kept))), "", *_caption(table), ""])


def latex(table: Sequence[Row]) -> str:
    """The same as a `tabular` for booktabs, the best of each score in bold, its conventions as comments."""
    head, lines, best = _cells(table)
    return latex_table(head, lines, left=1, bold=best, comments=_caption(table))


def plain(table: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as table.json holds them."""
    return [dataclasses.asdict(row) for row in table]


def training_rows(trainings: Sequence[Training]) -> list[list[object]]:
    """A row for each training and set, with every score, the head first."""
    fields = [f.name for f in dataclasses.fields(Training) if f.name != "scores"]
    metrics = list(next(iter(trainings[0].scores.values())))
    found: list[list[object]] = [[*fields, "set", *metrics]]
    for t in trainings:
        for name, scores in t.scores.items():
            found.append([*(getattr(t, f) for f in fields), name, *(scores[m] for m in metrics)])
    return found


def draw_dots(table: Sequence[Row], trainings: Sequence[Training]) -> "Figure":
    """Every training's scores, a row of panels for each set: a dot per training, bars at means, a band for chance."""
    from nas.report.comparison import dot_charts
    from nas.visualize.charts import on_one_figure

    head, *lines = training_rows(trainings)
    charts = dot_charts(plain(table), [dict(zip(map(str, head), line, strict=True)) for line in lines])
    labels = [row.label for row in table if not row.pooled]
    figure = on_one_figure(charts, len(METRICS), height=1.3 + 0.3 * len(labels))
    told = [f"a dot per training ({plural(len({t.seed for t in trainings}), 'seed')})", "a bar at the mean"]
    told += [f"grey: {RANDOM}"] if any(label.startswith(f"{RANDOM}:") for label in labels) else []
    told += [f"shaded: {RANDOM}, mean and deviation"] if any(r.pooled and r.label == RANDOM for r in table) else []
    figure.suptitle(", ".join(told), fontsize=9)
    return figure


def draw_trade_off(table: Sequence[Row]) -> "Figure":
    """maxF against multiply-adds, and against latency where it was measured, the front drawn; a row of panels a set."""
    from nas.report.comparison import cost_charts
    from nas.visualize.charts import on_one_figure

    charts = cost_charts(plain(table), ["maxF"])
    return on_one_figure(charts, len(charts) // len(table[0].scores))


def draw_pictures(strips: Mapping[str, Path]) -> "Figure":
    """The same photographs through every network. strips: label -> the predictions.png of its training."""
    from nas.visualize.charts import picture_rows

    found: list[tuple[str, np.ndarray]] = []  # a genotype may be called masks
    for label, path in strips.items():
        with Image.open(path) as strip:
            photographs, masks, maps = np.split(np.asarray(strip), 3)
        found += [] if found else [("photographs", photographs), ("masks", masks)]
        found.append((label, maps))
    return picture_rows(found)
