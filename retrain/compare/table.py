"""Trainings as a table and as a picture: means and spreads of each genotype, differences to the random ones' mean."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from retrain.compare.entries import RANDOM
from retrain.compare.runs import Training

__all__ = ["METRICS", "Row", "Statistic", "markdown", "plot", "rows", "trainings_csv"]

METRICS = ("maxF", "MAE_raw")
_TITLES = {"maxF": "maxF (higher is better)", "MAE_raw": "MAE (lower is better)"}
_BLUE, _ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito: told apart by colour-blind readers too


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """Mean, standard deviation (n - 1; None for a single value) and number of values."""

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Statistic":
        return cls(mean=mean(values), std=stdev(values) if len(values) > 1 else None, count=len(values))

    def text(self, digits: int = 4, sign: str = "") -> str:
        spread = "" if self.std is None else f" ± {self.std:.{digits}f}"
        return f"{self.mean:{sign}.{digits}f}{spread}"


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
        scores=scores,
        difference=difference,
    )


def _values(members: list[Training], name: str, metric: str, pooled: bool) -> list[float]:
    """One value a seed; pooled: one a genotype, its mean over seeds."""
    if not pooled:
        return [t.scores[name][metric] for t in members]
    labels = dict.fromkeys(t.label for t in members)
    return [mean(t.scores[name][metric] for t in members if t.label == label) for label in labels]


def markdown(table: Sequence[Row]) -> str:
    """The table with its conventions as a caption."""
    sets = list(table[0].scores)
    with_chance = any(row.difference["held_out"] for row in table)
    head = ["genotype", "trainings"]
    for name in sets:
        head += [f"{name} maxF", f"{name} MAE"]
    if with_chance:
        head += ["maxF - random", "MAE - random"]
    head += ["params", "MMACs", "images/s"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in table:
        cells = [f"**{row.label}** (all)" if row.pooled else row.label, str(row.trainings)]
        for name in sets:
            cells += [row.scores[name][metric].text() for metric in METRICS]
        if with_chance:
            gap = row.difference["held_out"]
            cells += [gap[metric].text(sign="+") if gap else "" for metric in METRICS]
        cells += [f"{row.params:,.0f}", f"{row.macs / 1e6:,.1f}", f"{row.images_per_second:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    caption = (
        "maxF: F (beta² 0.3) of precision and recall averaged over the set, best of 256 thresholds. MAE: raw, without "
        "stretching predictions. ±: standard deviation over seeds; for (all), over the means of its genotypes."
    )
    if with_chance:
        caption += " Differences are on the held-out part, to the mean of the random genotypes with the same seed."
    return "\n".join([*lines, "", caption, ""])


def trainings_csv(trainings: Sequence[Training]) -> str:
    """A line for each training and set, with every score."""
    out = io.StringIO()
    fields = [f.name for f in dataclasses.fields(Training) if f.name != "scores"]
    metrics = list(next(iter(trainings[0].scores.values())))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fields, "set", *metrics])
    for t in trainings:
        for name, scores in t.scores.items():
            values = ["" if scores[m] is None else scores[m] for m in metrics]
            writer.writerow([*(getattr(t, f) for f in fields), name, *values])
    return out.getvalue()


def plot(table: Sequence[Row], trainings: Sequence[Training], path: Path, *, name: str = "held_out") -> None:
    """Draw the scores on one set into a .png: a dot for each training, a bar at the mean, a band for chance."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [row for row in table if not row.pooled]
    figure = Figure(figsize=(10, 1.6 + 0.36 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    chance = next((row for row in table if row.label == RANDOM and row.pooled), None)
    for axis, metric in zip(axes, METRICS, strict=True):
        if chance is not None:
            band = chance.scores[name][metric]
            spread = band.std or 0.0
            axis.axvspan(band.mean - spread, band.mean + spread, color="0.9", label="random: mean ± std")
            axis.axvline(band.mean, color="0.6", linewidth=1)
        for height, row in enumerate(reversed(lines)):
            colour = "0.35" if row.label.startswith(f"{RANDOM}:") else _BLUE
            values = [t.scores[name][metric] for t in trainings if t.label == row.label]
            axis.plot(values, [height] * len(values), "o", color=colour, alpha=0.7, markersize=6)
            axis.plot(row.scores[name][metric].mean, height, "|", color=_ORANGE, markersize=18, markeredgewidth=2)
        axis.set_yticks(range(len(lines)), [row.label for row in reversed(lines)])
        axis.set_ylim(-0.6, len(lines) - 0.4)
        axis.set_xlabel(_TITLES[metric])
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
    seeds = len({t.seed for t in trainings})
    shaded = ", grey for chance" if chance is not None else ""
    figure.suptitle(f"{name}: a dot a training ({seeds} seed{'s' * (seeds > 1)}), a bar at the mean{shaded}")
    figure.savefig(path, dpi=130)
