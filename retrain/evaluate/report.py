"""Scores as a table, as files and as curves."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genotypes import UserError
from nas.task import Scores
from retrain.evaluate.score import Scored

__all__ = ["REPORT_FILES", "markdown", "scores_csv", "worst_csv", "write_report"]

REPORT_FILES = ("scores.csv", "scores.json", "table.md", "worst.csv", "curves.png", "maps")
_METRICS = [f.name for f in fields(Scores) if f.name != "count"]
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
_CONVENTIONS = """\
All numbers are pysodmetrics', on 8-bit maps resized to the masks' own size, masks cut at > 127.
maxF: F (beta² 0.3) of precision and recall averaged over the set, best of 256 thresholds; maxF_img: the images' F
averaged first; avgF: at twice each map's mean. wF: weighted F (beta² 1). Sm: alpha 0.5. Em: best threshold, mean over
thresholds, adaptive. MAE: of maps stretched to 0..1, as are all but MAE_raw: of the maps as they are."""


def markdown(scored: Sequence[Scored]) -> str:
    """A row for each network and set, every metric, and the conventions below."""
    head = ["network", "input", "set", "images", *_METRICS]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for item in scored:
        values = asdict(item.evaluation.scores)
        cells = [item.label, "x".join(map(str, item.size)), item.evaluation.name, str(values["count"])]
        cells += ["" if math.isnan(values[metric]) else f"{values[metric]:.4f}" for metric in _METRICS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _CONVENTIONS, ""])


def scores_csv(scored: Sequence[Scored]) -> str:
    """A line for each network and set; metrics that were not computed are empty."""
    rows: list[list[object]] = [["network", "height", "width", "set", "images", *_METRICS]]
    for item in scored:
        values = asdict(item.evaluation.scores)
        cells = ["" if math.isnan(values[metric]) else values[metric] for metric in _METRICS]
        rows.append([item.label, *item.size, item.evaluation.name, values["count"], *cells])
    return _csv(rows)


def worst_csv(scored: Sequence[Scored], count: int) -> str:
    """The images of largest error of each network and set."""
    rows: list[list[object]] = [["network", "set", "image", "MAE_raw", "avgF"]]
    for item in scored:
        rows += [[item.label, item.evaluation.name, *image] for image in item.evaluation.worst(count)]
    return _csv(rows)


def write_report(scored: Sequence[Scored], folder: Path, *, worst: int = 10) -> None:
    """table.md, scores.csv, scores.json, worst.csv and curves.png; UserError where they cannot be written."""
    document = [
        {"network": item.label, "size": list(item.size), "set": item.evaluation.name}
        | {key: None if math.isnan(value) else value for key, value in asdict(item.evaluation.scores).items()}
        for item in scored
    ]
    texts = {"table.md": markdown(scored), "scores.csv": scores_csv(scored), "worst.csv": worst_csv(scored, worst)}
    texts |= {"scores.json": json.dumps(document, indent=1)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        _curves(scored, folder / "curves.png")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None


def _curves(scored: Sequence[Scored], path: Path) -> None:
    """Precision over recall, and F over the threshold; a row of two panels for each set."""
    sets = list(dict.fromkeys(item.evaluation.name for item in scored))
    labels = list(dict.fromkeys(item.label for item in scored))
    figure = Figure(figsize=(11, 4.2 * len(sets)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(len(sets), 2, squeeze=False), sets, strict=True):
        for item in (item for item in scored if item.evaluation.name == name):
            style = {"color": _COLOURS[labels.index(item.label) % len(_COLOURS)], "linewidth": 1.8}
            style["linestyle"] = ("-", "--", ":", "-.")[labels.index(item.label) % 4]
            curves, best = item.evaluation.curves, item.evaluation.scores.maxF
            axes[0].plot(curves.recall, curves.precision, label=item.label, **style)
            axes[1].plot(range(255, -1, -1), curves.F, label=f"{item.label}: maxF {best:.3f}", **style)
        axes[0].set(
            title=f"{name}: precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1)
        )
        axes[1].set(title=f"{name}: F (beta² 0.3)", xlabel="threshold (of 255)", ylabel="F", xlim=(0, 255), ylim=(0, 1))
        for axis in axes:
            axis.grid(color="0.92")
            axis.legend(loc="lower left" if axis is axes[0] else "lower center", fontsize="small")
    figure.savefig(path, dpi=130)


def _csv(rows: list[list[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
