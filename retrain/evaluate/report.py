"""Scores as a table, as files, as curves, and the worst and best photographs as pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from genotypes import UserError
from nas.task import ImageScore, Pair, PhotoSet, Scores, read_image, read_mask, resize
from retrain.evaluate.score import Scored
from retrain.outputs import file_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["REPORT_FILES", "images_csv", "latex", "markdown", "scores_csv", "worst_csv", "write_report"]

REPORT_FILES = (
    "scores.csv", "scores.json", "table.md", "table.tex", "images.csv", "worst.csv", "curves.csv", "curves.png",
    "curves.pdf", "pictures", "maps",
)  # fmt: skip
_METRICS = [f.name for f in fields(Scores) if f.name != "count"]
_LOWER = ("MAE_raw", "MAE_stretched")
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
_CONVENTIONS = """\
All numbers are pysodmetrics', on 8-bit maps resized to the masks' own size. maxF: F (beta² 0.3) of precision and recall
averaged over the set, at the best threshold, of maps stretched to 0..1; maxF_raw: of maps as they are; maxF_img: the
images' F averaged first; avgF: at twice each map's mean. wF: weighted F (beta² 1). Sm: alpha 0.5. Em: best threshold,
mean over thresholds, adaptive. MAE_raw: of maps as they are; MAE_stretched: of maps stretched to 0..1. MACs:
multiply-adds at the input's size."""
_TILE = 192  # pixels of a picture in worst and best


def _head() -> list[str]:
    return ["network", "protocol", "input", "params", "MACs", "set", "images", *_METRICS]


def _cells(item: Scored) -> list[str]:
    values = asdict(item.evaluation.scores)
    return [
        item.label,
        item.evaluation.protocol.name,
        "" if item.size is None else "x".join(map(str, item.size)),
        "" if item.params is None else f"{item.params / 1e6:.3g} M",
        "" if item.macs is None else f"{item.macs / 1e9:.3g} G",
        item.evaluation.name,
        str(values["count"]),
        *("" if math.isnan(values[metric]) else f"{values[metric]:.4f}" for metric in _METRICS),
    ]


def _feet(scored: Sequence[Scored]) -> list[str]:
    return [protocol.told() for protocol in dict.fromkeys(item.evaluation.protocol for item in scored)]


def markdown(scored: Sequence[Scored]) -> str:
    """A row for each network, set and protocol, every metric, and the conventions below."""
    lines = ["| " + " | ".join(_head()) + " |", "|" + " --- |" * len(_head())]
    lines += ["| " + " | ".join(_cells(item)) + " |" for item in scored]
    return "\n".join([*lines, "", _CONVENTIONS, "", *(f"- {foot}" for foot in _feet(scored)), ""])


def latex(scored: Sequence[Scored]) -> str:
    """The same as a `tabular` for booktabs; the best of each set and protocol is bold; conventions as comments."""
    filled = [
        metric for metric in _METRICS if any(not math.isnan(getattr(i.evaluation.scores, metric)) for i in scored)
    ]
    shown = ["network", "protocol", "input", "params", "MACs", "set"]
    best: dict[tuple[str, str, str], float] = {}
    for item in scored:
        for metric in filled:
            value = getattr(item.evaluation.scores, metric)
            key = (item.evaluation.name, item.evaluation.protocol.name, metric)
            if not math.isnan(value):
                best[key] = (min if metric in _LOWER else max)(best.get(key, value), value)
    lines = [f"% {line}" for line in [*_CONVENTIONS.splitlines(), *_feet(scored)]]
    lines += [f"\\begin{{tabular}}{{{'l' * len(shown)}{'r' * len(filled)}}}", "\\toprule"]
    lines += [" & ".join(_tex(name) for name in [*shown, *filled]) + r" \\", "\\midrule"]
    for item in scored:
        cells = [_tex(cell) for cell in _cells(item)[: len(shown)]]
        for metric in filled:
            value = getattr(item.evaluation.scores, metric)
            text = "" if math.isnan(value) else f"{value:.4f}".replace("0.", ".", 1)
            top = best.get((item.evaluation.name, item.evaluation.protocol.name, metric))
            cells.append(f"\\textbf{{{text}}}" if len(scored) > 1 and value == top else text)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _tex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {c: f"\\{c}" for c in "&%$#_{}"} | {">": "$>$", "<": "$<$"}
    return "".join(special.get(c, c) for c in text)


def scores_csv(scored: Sequence[Scored]) -> str:
    """A line for each network, set and protocol; what was not computed is empty."""
    rows: list[list[object]] = [
        ["network", "protocol", "height", "width", "params", "macs", "set", "images", *_METRICS]
    ]
    for item in scored:
        values = asdict(item.evaluation.scores)
        cells = ["" if math.isnan(values[metric]) else values[metric] for metric in _METRICS]
        cost = [*(item.size or ("", "")), item.params or "", item.macs or ""]
        name = item.evaluation.name
        rows.append([item.label, item.evaluation.protocol.name, *cost, name, values["count"], *cells])
    return _csv(rows)


def images_csv(scored: Sequence[Scored]) -> str:
    """Every image of each network, set and protocol, in the set's order."""
    return _image_rows(scored, lambda item: item.evaluation.per_image)


def worst_csv(scored: Sequence[Scored], count: int) -> str:
    """The images of largest error of each network, set and protocol."""
    return _image_rows(scored, lambda item: item.evaluation.worst(count))


def _image_rows(scored: Sequence[Scored], chosen: Callable[[Scored], Iterable[ImageScore]]) -> str:
    _, *columns = ImageScore._fields
    rows: list[list[object]] = [["network", "protocol", "set", "image", *columns]]
    for item in scored:
        for image in chosen(item):
            values = ["" if isinstance(v, float) and math.isnan(v) else v for v in image]
            rows.append([item.label, item.evaluation.protocol.name, item.evaluation.name, *values])
    return _csv(rows)


def curves_csv(scored: Sequence[Scored]) -> str:
    """Every curve of each network, set and protocol, a line for each threshold, highest first."""
    names = ("precision", "recall", "F", "F_img", "precision_raw", "recall_raw", "F_raw", "F_img_raw")
    rows: list[list[object]] = [["network", "protocol", "set", "threshold", *names]]
    for item in scored:
        columns = [getattr(item.evaluation.curves, name) for name in names]
        for threshold, *values in zip(_thresholds(len(columns[0])), *columns, strict=True):
            rows.append([item.label, item.evaluation.protocol.name, item.evaluation.name, threshold, *values])
    return _csv(rows)


def write_report(
    scored: Sequence[Scored],
    folder: Path,
    *,
    worst: int = 10,
    sets: Mapping[str, PhotoSet | list[Pair]] | None = None,
    maps: Path | None = None,
) -> None:
    """Tables (Markdown, LaTeX, CSV, JSON), each image's scores, and the curves as PNG, PDF and CSV.

    sets, maps: the sets by name, and the folder of maps that `score` wrote; with both, the worst and the best
    photographs of each network and set, under the first protocol, as pictures/LABEL/SET.png.

    Raises:
        UserError: they cannot be written.
    """
    document = [
        {
            "network": item.label,
            "protocol": asdict(item.evaluation.protocol),
            "size": None if item.size is None else list(item.size),
            "params": item.params,
            "macs": item.macs,
            "set": item.evaluation.name,
        }
        | {key: None if math.isnan(value) else value for key, value in asdict(item.evaluation.scores).items()}
        for item in scored
    ]
    texts = {"table.md": markdown(scored), "table.tex": latex(scored), "scores.csv": scores_csv(scored)}
    texts |= {"images.csv": images_csv(scored), "worst.csv": worst_csv(scored, worst), "curves.csv": curves_csv(scored)}
    texts |= {"scores.json": json.dumps(document, indent=1)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        figure = _curves(scored)
        figure.savefig(folder / "curves.png", dpi=130)
        figure.savefig(folder / "curves.pdf")
        if sets and maps:
            _write_pictures(scored, folder / "pictures", sets, maps, min(worst, 8))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None


def _thresholds(count: int) -> list[float]:
    return np.linspace(255, 0, count).tolist()


def _curves(scored: Sequence[Scored]) -> Figure:
    """Precision over recall, and F over the threshold; a row of two panels for each set."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(item.evaluation.name for item in scored))
    protocols = list(dict.fromkeys(item.evaluation.protocol for item in scored))
    labels = list(dict.fromkeys(item.label for item in scored))
    figure = Figure(figsize=(11, 4.2 * len(sets)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(len(sets), 2, squeeze=False), sets, strict=True):
        for item in (item for item in scored if item.evaluation.name == name):
            protocol, curves = item.evaluation.protocol, item.evaluation.curves
            label = item.label if len(protocols) == 1 else f"{item.label} ({protocol.name})"
            colour = _COLOURS[labels.index(item.label) % len(_COLOURS)]
            style = ("-", "--", ":", "-.")[(labels.index(item.label) + protocols.index(protocol)) % 4]
            raw = protocol.maps == "raw"
            precision, recall = (curves.precision_raw, curves.recall_raw) if raw else (curves.precision, curves.recall)
            f = curves.F_raw if raw else curves.F
            axes[0].plot(recall, precision, label=label, color=colour, linestyle=style, linewidth=1.8)
            text = f"{label}: maxF{'_raw' * raw} {f.max():.3f}"
            axes[1].plot(_thresholds(len(f)), f, label=text, color=colour, linestyle=style, linewidth=1.8)
        axes[0].set(
            title=f"{name}: precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1)
        )
        axes[1].set(title=f"{name}: F (beta² 0.3)", xlabel="threshold (of 255)", ylabel="F", xlim=(0, 255), ylim=(0, 1))
        for axis in axes:
            axis.grid(color="0.92")
            axis.legend(loc="lower left" if axis is axes[0] else "lower center", fontsize="small")
    return figure


def _write_pictures(
    scored: Sequence[Scored], folder: Path, sets: Mapping[str, PhotoSet | list[Pair]], maps: Path, count: int
) -> None:
    """The best photographs (upper three rows: photograph, mask, map) and the worst (lower three) as one picture."""
    done = set()
    for item in scored:
        pairs = sets[item.evaluation.name]
        where = (item.label, item.evaluation.name)
        if isinstance(pairs, PhotoSet) or item.params is None or where in done:
            continue
        done.add(where)
        by_name = {pair.name: pair for pair in pairs}
        rows = []
        for images in (item.evaluation.best(count), item.evaluation.worst(count)):
            columns = []
            for image in images:
                pair = by_name[image.name]
                saliency = read_image(maps / file_name(item.label) / file_name(where[1]) / f"{image.name}.png")
                parts = (read_image(pair.image), _as_rgb(read_mask(pair.mask)), saliency)
                columns.append(np.vstack([_tile(part) for part in parts]))
            rows.append(np.hstack(columns))
        path = folder / file_name(item.label) / f"{file_name(where[1])}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.vstack([rows[0], np.full((8, rows[0].shape[1], 3), 255, np.uint8), rows[1]])).save(path)


def _as_rgb(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[..., None], 3, axis=2)


def _tile(pixels: np.ndarray) -> np.ndarray:
    """A picture fitted into a square of white."""
    scale = _TILE / max(pixels.shape[:2])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    out = np.full((_TILE + 4, _TILE + 4, 3), 255, np.uint8)
    out[:height, :width] = resize(pixels, (height, width))
    return out


def _csv(rows: list[list[object]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()
