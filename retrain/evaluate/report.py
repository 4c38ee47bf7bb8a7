"""Scores as a table, as files, as curves, as a page, and the worst and best photographs as pictures."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from genotypes.files import file_name, json_text, write_atomically, write_csv, write_text
from nas.command import aligned, as_started
from nas.run.folder import environment
from nas.run_files import lower_is_better
from nas.task import ImageScore, Pair, PhotoSet, Scores, read_image, read_mask, resize, write_png
from retrain.evaluate.score import Scored
from retrain.tables import cell, latex_table, markdown_table, write_spreadsheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas.report.parts import Table

__all__ = ["REPORT_FILES", "latex", "markdown", "shown", "write_report"]

REPORT_FILES = (
    "report.html", "scores.csv", "scores.json", "table.md", "table.tex", "images.csv", "worst.csv", "curves.csv",
    "curves.png", "curves.pdf", "scores.xlsx", "pictures", "maps",
)  # fmt: skip
_METRICS = [f.name for f in fields(Scores) if f.name != "count"]
# What is printed: a score of each kind. The files have all.
_SHOWN = {
    "maxF": "maxF: F (beta² 0.3) of precision and recall averaged over the set, at the best threshold.",
    "wF": "wF: weighted F (beta² 1).",
    "Sm": "Sm: structure measure (alpha 0.5).",
    "Em_mean": "Em_mean: E-measure, mean over thresholds.",
    "MAE_raw": "MAE_raw: mean absolute error of maps as they are; lower is better, of the others higher.",
}
_CONVENTIONS = """\
All numbers are pysodmetrics', on 8-bit maps resized to the masks' own size. maxF: F (beta² 0.3) of precision and recall
averaged over the set, at the best threshold, of maps stretched to 0..1; maxF_raw: of maps as they are; maxF_img: the
images' F averaged first; avgF: at twice each map's mean. wF: weighted F (beta² 1). Sm: alpha 0.5. Em: best threshold,
mean over thresholds, adaptive. MAE_raw: of maps as they are; MAE_stretched: of maps stretched to 0..1. MACs:
multiply-adds at the input's size."""
_TIMES = " ms: one photograph through the network, the shortest of ten."
_TILE = 192  # pixels of a picture in worst and best


def _columns(scored: Sequence[Scored]) -> list[str]:
    """Of the tables that are read: latency only where it was measured."""
    timed = ["ms"] if any(item.latency_ms is not None for item in scored) else []
    return ["network", "protocol", "input", "params", "MACs", *timed, "set"]


def _cells(item: Scored, columns: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """A row of the tables that are read: the columns, and the metrics' values."""
    scores = item.evaluation.scores
    cells = {
        "network": item.label,
        "protocol": item.evaluation.protocol.name,
        "input": "" if item.size is None else "x".join(map(str, item.size)),
        "params": "" if item.params is None else f"{item.params / 1e6:.3g} M",
        "MACs": "" if item.macs is None else f"{item.macs / 1e9:.3g} G",
        "ms": cell(item.latency_ms, ".1f"),
        "set": item.evaluation.name,
        "images": str(scores.count),
    }
    return [*(cells[column] for column in columns), *(cell(getattr(scores, metric), ".4f") for metric in metrics)]


def _conventions(scored: Sequence[Scored]) -> str:
    return _CONVENTIONS + _TIMES * ("ms" in _columns(scored))


def _feet(scored: Sequence[Scored]) -> list[str]:
    return [protocol.describe() for protocol in dict.fromkeys(item.evaluation.protocol for item in scored)]


def _computed(scored: Sequence[Scored]) -> list[str]:
    """The metrics that any of them has: quick scores are F-measures and MAE alone."""
    return [metric for metric in _METRICS if any(not math.isnan(getattr(i.evaluation.scores, metric)) for i in scored)]


def markdown(scored: Sequence[Scored]) -> str:
    """A row for each network, set and protocol, every metric that was computed, and the conventions below."""
    columns, metrics = [*_columns(scored), "images"], _computed(scored)
    table = markdown_table([*columns, *metrics], [_cells(item, columns, metrics) for item in scored])
    return "\n".join([table, "", _conventions(scored), "", *(f"- {foot}" for foot in _feet(scored)), ""])


def _short_table(scored: Sequence[Scored]) -> tuple[list[str], list[list[str]], list[str]]:
    """The head and the rows of what is read at a glance, and the metrics in it: a score of each kind."""
    computed = _computed(scored)
    metrics = [metric for metric in _SHOWN if metric in computed]
    several = len({item.evaluation.protocol for item in scored}) > 1
    columns = [column for column in (*_columns(scored), "images") if several or column != "protocol"]
    return [*columns, *metrics], [_cells(item, columns, metrics) for item in scored], metrics


def shown(scored: Sequence[Scored], folder: Path | None = None) -> str:
    """What a terminal shows: columns below one another, a score of each kind, and where the other scores are.

    folder: of the report, if there is one.
    """
    head, rows, metrics = _short_table(scored)
    words = {"network", "protocol", "set"}
    table = aligned([head, *rows], right=[i for i, name in enumerate(head) if name not in words])
    told = " ".join(_SHOWN[metric] for metric in metrics) + _TIMES * ("ms" in head)
    more = [metric for metric in _computed(scored) if metric not in metrics]
    if more:
        where = f"in {folder / 'table.md'}." if folder else "-o DIR keeps them."
        told += f" Also computed: {', '.join(more)}: {where}"
    feet = [textwrap.fill(f"- {foot}", 110, subsequent_indent="  ") for foot in _feet(scored)]
    return "\n".join([table, "", textwrap.fill(told, 110, break_long_words=False), *feet, ""])


def _page(scored: Sequence[Scored], folder: Path, worst: int) -> str:
    """report.html: the table, the curves, the worst photographs, pictures/ where it is there, and how it was made."""
    from nas.report.parts import Code, Page, Section, Table, Text, charts, photograph, render, versions

    made = environment()
    head, rows, metrics = _short_table(scored)
    about = [
        *(Text(foot, muted=True) for foot in _feet(scored)),
        Text("table.md and scores.csv, beside this page, have every metric; images.csv those of each photograph."),
    ]
    pictures = [
        photograph(path, f"{label} on {name}: best photographs, masks, maps; below, worst. Above each: MAE_raw, name.")
        for label, name in dict.fromkeys((item.label, item.evaluation.name) for item in scored)
        if (path := folder / "pictures" / file_name(label) / f"{file_name(name)}.png").is_file()
    ]
    caption = " ".join(_SHOWN[metric] for metric in metrics) + _TIMES * ("ms" in head)
    sections = [
        Section("scores", "Scores", [Table(head, rows, caption), *about]),
        Section("curves", "Curves", [charts("curves", [draw() for draw in _curve_charts(scored)])]),
        Section("worst", "The worst photographs", [_worst_table(scored, worst)]),
        *([Section("pictures", "The best and the worst", pictures)] if pictures else []),
        Section("origin", "Command and versions", [Code(as_started(shlex.join(made["command"]))), versions(made)]),
    ]
    title = "Scores: " + ", ".join(dict.fromkeys(item.label for item in scored))
    return render(Page(title=title, state="complete", complete=True, sections=sections))


def _under_the_first(scored: Sequence[Scored]) -> list[Scored]:
    """Of each network and set the row under the first protocol, which --no_antialias changes for networks alone."""
    found: dict[tuple[str, str], Scored] = {}
    for item in scored:
        found.setdefault((item.label, item.evaluation.name), item)
    return list(found.values())


def _worst_table(scored: Sequence[Scored], worst: int) -> Table:
    """The images of largest error of each network and set, under the first protocol."""
    from nas.report.parts import Table, number

    images = [image for item in scored for image in item.evaluation.per_image]
    shown = ("MAE_raw", "maxF", "wF", "Sm")
    metrics = [name for name in shown if not all(math.isnan(getattr(image, name)) for image in images)]
    rows = [
        [item.label, item.evaluation.name, image.name, *(number(getattr(image, metric)) for metric in metrics)]
        for item in _under_the_first(scored)
        for image in item.evaluation.worst(worst)
    ]
    return Table(["network", "set", "photograph", *metrics], rows)


def latex(scored: Sequence[Scored]) -> str:
    """The same as a `tabular` for booktabs; the best of each set and protocol is bold; conventions as comments."""
    columns, metrics = _columns(scored), _computed(scored)
    rows = [_cells(item, columns, metrics) for item in scored]
    values: dict[tuple[str, str, str], dict[int, float]] = {}  # (set, protocol, metric) -> row -> value
    for i, item in enumerate(scored):
        for metric in metrics:
            key = (item.evaluation.name, item.evaluation.protocol.name, metric)
            if not math.isnan(value := getattr(item.evaluation.scores, metric)):
                values.setdefault(key, {})[i] = value
    bold = set()
    for (_, _, metric), found in values.items() if len(scored) > 1 else ():
        best = (min if lower_is_better(metric) else max)(found.values())
        bold |= {(i, len(columns) + metrics.index(metric)) for i, value in found.items() if value == best}
    told = [*_conventions(scored).splitlines(), *_feet(scored)]
    return latex_table([*columns, *metrics], rows, left=len(columns), bold=bold, comments=told)


def _score_rows(scored: Sequence[Scored]) -> list[list[object]]:
    """The head, then a row for each network, set and protocol; what was not computed is empty."""
    rows: list[list[object]] = [
        ["network", "protocol", "height", "width", "params", "macs", "latency_ms", "set", "images", *_METRICS]
    ]
    for item in scored:
        values = item.evaluation.scores.plain()
        cost = [*(item.size or (None, None)), item.params, item.macs, item.latency_ms]
        scores = [values[name] for name in ("count", *_METRICS)]
        rows.append([item.label, item.evaluation.protocol.name, *cost, item.evaluation.name, *scores])
    return rows


def _image_rows(scored: Sequence[Scored], chosen: Callable[[Scored], Iterable[ImageScore]]) -> list[list[object]]:
    """A row for each chosen image of each network, set and protocol."""
    _, *columns = ImageScore._fields
    rows: list[list[object]] = [["network", "protocol", "set", "image", *columns]]
    for item in scored:
        for image in chosen(item):
            values = [None if isinstance(v, float) and math.isnan(v) else v for v in image]
            rows.append([item.label, item.evaluation.protocol.name, item.evaluation.name, *values])
    return rows


def _curve_rows(scored: Sequence[Scored]) -> list[list[object]]:
    """Every curve of each network, set and protocol, a line for each threshold, highest first."""
    names = ("precision", "recall", "F", "F_img", "precision_raw", "recall_raw", "F_raw", "F_img_raw")
    rows: list[list[object]] = [["network", "protocol", "set", "threshold", *names]]
    for item in scored:
        columns = [getattr(item.evaluation.curves, name) for name in names]
        for threshold, *values in zip(_thresholds(len(columns[0])), *columns, strict=True):
            rows.append([item.label, item.evaluation.protocol.name, item.evaluation.name, threshold, *values])
    return rows


def write_report(
    scored: Sequence[Scored],
    folder: Path,
    *,
    worst: int = 10,
    sets: Mapping[str, PhotoSet | list[Pair]] | None = None,
    maps: Path | None = None,
    spreadsheet: bool = False,
) -> None:
    """Tables (Markdown, LaTeX, CSV, JSON), each image's scores, the curves as PNG, PDF and CSV, and a page of it all.

    sets, maps: the sets by name, and the folder of maps that `score` wrote; with both, the worst and the best
    photographs of each network and set, under the first protocol, as pictures/LABEL/SET.png.
    spreadsheet: also write scores.xlsx, a sheet of scores and one of images; else an earlier one goes.

    Raises:
        UserError: they cannot be written.
    """
    from nas.visualize.charts import on_one_figure, save_figure  # matplotlib

    document = [
        {
            "network": item.label,
            "protocol": asdict(item.evaluation.protocol),
            "size": None if item.size is None else list(item.size),
            "params": item.params,
            "macs": item.macs,
            "latency_ms": item.latency_ms,
            "set": item.evaluation.name,
        }
        | item.evaluation.scores.plain()
        for item in scored
    ]
    # scores.json first: beside it the others are a report's, and may be replaced.
    texts = {"scores.json": json_text(document), "table.md": markdown(scored), "table.tex": latex(scored)}
    sheets = {"scores": _score_rows(scored), "images": _image_rows(scored, lambda item: item.evaluation.per_image)}
    worst_rows = _image_rows(scored, lambda item: item.evaluation.worst(worst))
    for name, text in texts.items():
        write_text(folder / name, text)
    for name, rows in (sheets | {"worst": worst_rows, "curves": _curve_rows(scored)}).items():
        write_csv(folder / f"{name}.csv", rows)
    if spreadsheet:
        write_spreadsheet(folder / "scores.xlsx", sheets)
    else:
        (folder / "scores.xlsx").unlink(missing_ok=True)
    figure = on_one_figure(_curve_charts(scored), 2, width=5.5, height=4.2)
    save_figure(figure, folder / "curves.png", dpi=130)
    save_figure(figure, folder / "curves.pdf")
    if sets and maps:
        _write_pictures(scored, folder / "pictures", sets, maps, min(worst, 8))
    write_text(folder / "report.html", _page(scored, folder, worst))


def _thresholds(count: int) -> list[float]:
    return np.linspace(255, 0, count).tolist()


def _curve_charts(scored: Sequence[Scored]) -> list[Callable[..., Figure]]:
    """Precision over recall, then F over the threshold, for each set; to be drawn as those of a comparison's page."""
    from nas.visualize.charts import Trace, traces

    protocols = list(dict.fromkeys(item.evaluation.protocol for item in scored))
    labels = list(dict.fromkeys(item.label for item in scored))
    found: list[Callable[..., Figure]] = []
    for name in dict.fromkeys(item.evaluation.name for item in scored):
        precision, f = [], []
        for item in (item for item in scored if item.evaluation.name == name):
            protocol, curves = item.evaluation.protocol, item.evaluation.curves
            label = item.label if len(protocols) == 1 else f"{item.label} ({protocol.name})"
            number = labels.index(item.label)
            look = {"colour": number, "dash": number if len(protocols) == 1 else protocols.index(protocol)}
            raw = "_raw" * (protocol.maps == "raw")
            x, y, F = (getattr(curves, key + raw) for key in ("recall", "precision", "F"))
            precision.append(Trace(label=label, x=x, y=y, **look))
            f.append(Trace(label=f"{label}: maxF{raw} {F.max():.3f}", x=_thresholds(len(F)), y=F, **look))
        title = f"{name}: precision and recall"
        found.append(partial(traces, precision, title=title, xlabel="recall", ylabel="precision", xlim=(0, 1)))
        title = f"{name}: F (beta² 0.3)"
        found.append(partial(traces, f, title=title, xlabel="threshold (of 255)", ylabel="F", xlim=(0, 255)))
    return found


def _write_pictures(
    scored: Sequence[Scored], folder: Path, sets: Mapping[str, PhotoSet | list[Pair]], maps: Path, count: int
) -> None:
    """The best photographs (upper rows: photograph, mask, map) and the worst as one picture, with names and MAE_raw."""
    for item in _under_the_first(scored):
        pairs, place = sets[item.evaluation.name], Path(file_name(item.label), file_name(item.evaluation.name))
        if isinstance(pairs, PhotoSet) or item.params is None:
            continue
        by_name = {pair.name: pair for pair in pairs}
        rows = []
        for images in (item.evaluation.best(count), item.evaluation.worst(count)):
            columns = []
            for image in images:
                pair = by_name[image.name]
                saliency = read_image(maps / place / f"{image.name}.png")
                parts = (read_image(pair.image), _as_rgb(read_mask(pair.mask)), saliency)
                columns.append(np.vstack([_caption(image), *(_tile(part) for part in parts)]))
            rows.append(np.hstack(columns))
        with write_atomically(folder / f"{place}.png") as file:
            write_png(np.vstack([rows[0], np.full((8, rows[0].shape[1], 3), 255, np.uint8), rows[1]]), file)


def _caption(image: ImageScore) -> np.ndarray:
    """A line above a column: the error, and the end of the name."""
    line = Image.new("RGB", (_TILE + 4, 14), "white")
    name = image.name[-18:].encode("latin-1", "replace").decode("latin-1")  # all that Pillow's own font has
    ImageDraw.Draw(line).text((1, 1), f"{image.MAE_raw:.3f}  {name}", fill="black")
    return np.asarray(line)


def _as_rgb(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[..., None], 3, axis=2)


def _tile(pixels: np.ndarray) -> np.ndarray:
    """A picture fitted into a square of white."""
    scale = _TILE / max(pixels.shape[:2])
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    out = np.full((_TILE + 4, _TILE + 4, 3), 255, np.uint8)
    out[:height, :width] = resize(pixels, (height, width))
    return out
