"""A comparison as a picture: a dot for each training, a bar at the mean, a band for chance."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from retrain.compare.entries import RANDOM
from retrain.compare.runs import Training
from retrain.compare.table import METRICS, Row

__all__ = ["plot"]

_TITLES = {"maxF": "maxF (higher is better)", "MAE_raw": "MAE (lower is better)"}
_BLUE, _ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito: told apart by colour-blind readers too


def plot(table: Sequence[Row], trainings: Sequence[Training], path: Path, *, name: str = "held_out") -> None:
    """Draw the scores on one set into a .png."""
    lines = [row for row in table if not row.pooled]
    figure = Figure(figsize=(10, 1.6 + 0.36 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharey=True)
    chance = next((row for row in table if row.label == RANDOM and row.pooled), None)
    for axis, metric in zip(axes, METRICS, strict=True):
        if chance is not None:
            band = chance.scores[name][metric]
            axis.axvspan(band.mean - band.std, band.mean + band.std, color="0.9", label="random: mean ± std")
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
    figure.suptitle(f"{name}: a dot a training ({seeds} seed{'s' * (seeds > 1)}), a bar at the mean, grey for chance")
    figure.savefig(path, dpi=130)
