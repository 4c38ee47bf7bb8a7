"""Charts of numbers: curves, choices, dots, trade-offs. Each is a matplotlib figure; `to_svg` makes it part of a page.

Colours are Okabe and Ito's, which colour-blind readers tell apart, and every series is told by its place, marker or
dashes as well. Ink and grid are named colours, so that a page can put its own (for a dark screen) in their place.
"""

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from genotypes.files import write_atomically
from nas.visualize.scene import FONT
from nas.visualize.style import darker, mixed, operation_label, operation_stroke

__all__ = [
    "COLOURS",
    "Dots",
    "CostPoint",
    "Trace",
    "bars",
    "dots",
    "heat_map",
    "lines",
    "on_one_figure",
    "page_svg",
    "pareto",
    "picture_rows",
    "save_figure",
    "shares",
    "to_pixels",
    "to_svg",
    "traces",
    "trade_off",
]

T = TypeVar("T")
INK, MUTED, GRID, PAPER = "#1f2329", "#6a7380", "#d4d9df", "#fefefe"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)))
_MARKERS = "os^DvP"


@dataclass(frozen=True, kw_only=True)
class Dots:
    """A row of `dots`: its values, and whether it is what all is measured against (grey) or what it is about."""

    label: str
    values: Sequence[float]
    grey: bool = False


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A curve of `traces`. colour, dash: numbers, of curves that belong together the same."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dash: int = 0


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """A point of `trade_off`. spread: of y, as a bar up and down; marked: what was chosen, as a star.

    group: points of one have a colour and a marker of their own, and its name stands in the legend.
    """

    x: float
    y: float
    spread: float = 0.0
    label: str = ""
    marked: bool = False
    group: str = ""


def lines(x: Sequence[float], series: Mapping[str, Sequence[float]], *, title: str, xlabel: str = "step") -> Figure:
    """Series over x, with a gap where a value is NaN."""
    figure, axes = _figure(4.6, 2.9)
    for index, (label, values) in enumerate(series.items()):
        look = {"color": COLOURS[index % len(COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}
        axes.plot(x, values, label=label, linewidth=1.7, marker=_MARKERS[index % len(_MARKERS)], markersize=3.5, **look)
    axes.set(title=title, xlabel=xlabel)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))  # steps and trials are counted
    if len(series) > 1:
        _legend(axes)
    return figure


def traces(
    rows: Sequence[Trace],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    xlim: tuple[float, float],
    panel: Axes | None = None,
) -> Figure:
    """Curves of many points, each with its own x; y goes from 0 to 1."""
    figure, axes = _figure(4.6, 3.4, panel)
    for row in rows:
        look = {"color": COLOURS[row.colour % len(COLOURS)], "linestyle": _DASHES[row.dash % len(_DASHES)]}
        axes.plot(row.x, row.y, label=row.label, linewidth=1.7, **look)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=xlim, ylim=(0, 1))
    _legend(axes)
    return figure


def shares(
    x: Sequence[float], rows: Sequence[Mapping[str, float]], *, title: str, colours: Sequence[str] | None = None
) -> Figure:
    """One choice's candidates over x (a row for each), stacked to 1 in order; colours: of what is no operation."""
    figure, axes = _figure(2.3, 1.5)
    names = list(rows[0])
    table = numpy.array([[row[name] for row in rows] for name in names])
    if len(x) == 1:
        x, table = [x[0], x[0] + 1], numpy.repeat(table, 2, axis=1)
    axes.stackplot(x, table, colors=colours or [area_colour(name) for name in names], edgecolor=PAPER, linewidth=0.4)
    axes.set(xlim=(x[0], x[-1]), ylim=(0, 1), yticks=(0, 1), xticks=(x[0], x[-1]))
    axes.set_title(title, fontsize=7.5, loc="left", color=INK)
    axes.grid(False)
    axes.tick_params(labelsize=6.5)
    # A page has dozens of these, and to find the margins of each takes longer than to draw it.
    figure.set_layout_engine(None)
    axes.set_position((0.085, 0.155, 0.825, 0.71))
    return figure


def area_colour(name: str) -> str:
    """The colour of an operation's areas: its line's, paler where that is double, darker where it is dashed."""
    stroke = operation_stroke(name)
    return mixed(stroke.colour, "#ffffff", 0.5) if stroke.double else darker(stroke.colour, 0.3 * bool(stroke.dashes))


def heat_map(probabilities: Mapping[str, Mapping[str, float]], *, title: str = "") -> Figure:
    """A row an edge, a column an operation; blank where an operation is no candidate of the edge.

    Colours go from 0 to the highest probability: a short search leaves all of them low, and still chooses.
    """
    names = list(dict.fromkeys(name for row in probabilities.values() for name in row))
    table = numpy.array([[row.get(name, math.nan) for name in names] for row in probabilities.values()])
    highest = float(numpy.nanmax(table, initial=0.0)) or 1.0
    figure, axes = _figure(max(3.6 if title else 0.0, 1.9 + 0.27 * len(names)), 1.5 + 0.17 * len(table))
    image = axes.pcolormesh(table, cmap="cividis", vmin=0, vmax=highest)
    axes.set_xticks([x + 0.5 for x in range(len(names))], [operation_label(name) for name in names])
    axes.set_yticks([y + 0.5 for y in range(len(table))], list(probabilities))
    axes.invert_yaxis()
    axes.tick_params(labelsize=6.5)
    axes.tick_params(axis="x", rotation=90)
    axes.grid(False)
    for (row, column), value in numpy.ndenumerate(table):
        if value >= min(0.1, numpy.nanmax(table[row])):  # each row has one, undecided ones too
            colour = "white" if value < 0.5 * highest else "black"
            axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", ha="center", va="center", fontsize=6, color=colour)
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.set_label("probability", color=INK, fontsize=7)
    bar.ax.tick_params(labelsize=6.5, colors=INK)
    bar.outline.set_visible(False)
    axes.set_title(title)
    return figure


def dots(
    rows: Sequence[Dots],
    *,
    title: str,
    xlabel: str,
    band: tuple[float, float] | None = None,
    panel: Axes | None = None,
) -> Figure:
    """Rows of values, first row on top, a bar at each mean. band: (mean, deviation) of chance, shaded grey."""
    figure, axes = _figure(4.6, 1.3 + 0.3 * len(rows), panel)
    if band is not None:
        axes.axvspan(band[0] - band[1], band[0] + band[1], color=MUTED, alpha=0.18, linewidth=0)
        axes.axvline(band[0], color=MUTED, linewidth=1)
    for height, row in enumerate(reversed(rows)):
        colour = MUTED if row.grey else COLOURS[0]
        axes.plot(row.values, [height] * len(row.values), "o", color=colour, alpha=0.75, markersize=6)
        if row.values:
            mean = sum(row.values) / len(row.values)
            axes.plot(mean, height, "|", color=COLOURS[1], markersize=16, markeredgewidth=2)
    axes.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
    axes.set(title=title, xlabel=xlabel, ylim=(-0.6, len(rows) - 0.4))
    axes.grid(axis="y", visible=False)
    return figure


def bars(rows: Mapping[str, Sequence[float]], names: Sequence[str], *, title: str, xlabel: str) -> Figure:
    """Horizontal bars, first row on top, one for each of `names` in a row; NaN leaves a bar out."""
    thick = 0.8 / len(names)
    figure, axes = _figure(4.6, 1.4 + 0.13 * len(names) * len(rows))
    for index, name in enumerate(names):
        places = [row + (index - (len(names) - 1) / 2) * thick for row in range(len(rows))]
        values = [row[index] for row in rows.values()]
        axes.barh(places, values, height=thick, label=name, color=COLOURS[index % len(COLOURS)])
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set(title=title, xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6))
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", visible=False)
    if len(names) > 1:
        figure.legend(frameon=False, fontsize=7.5, labelcolor=INK, loc="outside lower right", ncols=len(names))
    return figure


def trade_off(
    points: Sequence[CostPoint],
    front: Sequence[CostPoint] = (),
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    rising: bool = False,
    beside: Mapping[str, Sequence[CostPoint]] = MappingProxyType({}),
    panel: Axes | None = None,
) -> Figure:
    """Points of cost (x) and loss (y), with their labels, and the front as steps. rising: y is a score, not a loss.

    Of a front's labels those are left out that would lie over others; its ends have theirs.

    beside: name -> points that these are measured against, as triangles, the best of them for their cost joined.
    Where costs differ by more than five times their axis is logarithmic: networks differ in cost by factors.
    """
    figure, axes = _figure(4.6, 3.2, panel)
    costs = [p.x for p in chain(points, *beside.values())] or [0.0]
    low, high = min(costs), max(costs)
    logarithmic = 0 < 5 * low < high
    named = any(point.label for point in points)

    def places(of: Sequence[CostPoint]) -> tuple[list[float], list[float]]:
        return [point.x for point in of], [point.y for point in of]

    plain = [point for point in points if not point.marked]
    for index, group in enumerate(dict.fromkeys(point.group for point in plain)):
        look: dict[str, Any] = {"color": MUTED, "label": "tried" if front and not named else None}
        if group:
            tones = (*COLOURS[:2], *COLOURS[3:])  # the third is what stands beside them
            look = {"color": tones[index % len(tones)], "marker": "osDvP"[index % 5], "label": group}
        axes.scatter(*places([point for point in plain if point.group == group]), s=16, **look)
    if spread := [point for point in points if point.spread]:
        deviations = [point.spread for point in spread]
        axes.errorbar(*places(spread), deviations, fmt="none", color=MUTED, linewidth=1, capsize=2)
    if front:
        axes.plot(*places(front), drawstyle="steps-post", marker="o", markersize=5, color=COLOURS[0], label="front")
    for index, (name, others) in enumerate(beside.items(), 2):
        axes.scatter(*places(others), marker="^", s=24, color=COLOURS[index], label=name)
        best = pareto(others, lambda p: p.x, (lambda p: -p.y) if rising else (lambda p: p.y))
        axes.plot(*places(best), color=COLOURS[index], linewidth=0.9)
    if marked := [point for point in points if point.marked]:
        axes.scatter(*places(marked), marker="*", s=170, color=COLOURS[1], zorder=3, label="chosen")
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel + (" (higher is better)" if rising else ""))
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    thousands = EngFormatter(sep="")
    axes.xaxis.set_major_formatter(lambda cost, _: f"{cost:g}" if abs(cost) < 1000 else thousands(cost))
    axes.margins(0.12)
    middle = math.sqrt(low * high) if logarithmic else (low + high) / 2
    shown = points if named else _apart(axes, front)
    # A label stands inside of the chart, at its point's left or right.
    sides = [("left" if point.x > middle else "right", "above") for point in shown]
    if named:
        sides = _sides(axes, points, front, sides)
    for point, (side, level) in zip(shown, sides, strict=True):
        how: dict[str, Any] = {"path_effects": [withStroke(linewidth=2, foreground=PAPER)]}
        how |= {"xytext": (-4 if side == "left" else 4, 4 if level == "above" else -4)}
        how |= {"ha": "right" if side == "left" else "left", "va": "baseline" if level == "above" else "top"}
        axes.annotate(point.label, (point.x, point.y), textcoords="offset points", fontsize=7, color=INK, **how)
    if front or beside:
        _legend(axes)
    return figure


def _sides(
    axes: Axes, points: Sequence[CostPoint], front: Sequence[CostPoint], sides: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Where each label lies over the fewest others, points and lines; sides: where it stands if nothing hinders."""

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, y)) * (72 / axes.figure.dpi)
        return float(across), float(up)

    axes.autoscale_view()
    taken = [(x - 3, y - 3, x + 3, y + 3) for x, y in (place(point.x, point.y) for point in points)]
    for point, following in pairwise(front):  # a step of the front: to the right, then up or down
        (left, y), (right, end) = place(point.x, point.y), place(following.x, following.y)
        taken += [(left, y - 1, right, y + 1), (right - 1, min(y, end), right + 1, max(y, end))]
    for point in points:
        if point.spread:
            (x, low), (_, high) = (place(point.x, point.y + sign * point.spread) for sign in (-1, 1))
            taken.append((x - 2, low, x + 2, high))
    west, south, east, north = (edge * 72 / axes.figure.dpi for edge in axes.bbox.extents)
    found: list[tuple[str, str]] = []
    for point, (side, level) in zip(points, sides, strict=True):
        (x, y), width, others = place(point.x, point.y), 4.5 * len(point.label), {"left": "right", "right": "left"}
        choices = {}
        for here in ((side, level), (side, "below"), (others[side], level), (others[side], "below")):
            left, low = x + 4 if here[0] == "right" else x - 4 - width, y + 3 if here[1] == "above" else y - 11
            box = (left, low, left + width, low + 8)
            hits = sum(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)
            out = box[0] < west or box[1] < south or box[2] > east or box[3] > north
            choices[here] = (out, hits), box
        best = min(choices, key=lambda here: choices[here][0])
        found.append(best)
        taken.append(choices[best][1])
    return found


def _apart(axes: Axes, points: Sequence[CostPoint]) -> list[CostPoint]:
    """Points whose labels do not lie over one another: first the ends, then what fits between."""
    if not points:
        return []
    axes.autoscale_view()
    places = axes.transData.transform([(point.x, point.y) for point in points]) * 72 / axes.figure.dpi
    kept: list[int] = []
    for index in dict.fromkeys([0, len(points) - 1, *range(len(points))]):
        away = (abs(places[index] - places[other]) for other in kept)
        if all(dx > 5 * len(points[index].label) + 4 or dy > 9 for dx, dy in away):
            kept.append(index)
    return [points[index] for index in sorted(kept)]


def pareto(items: Iterable[T], cost: Callable[[T], float], loss: Callable[[T], float]) -> list[T]:
    """Those that no cheaper one equals, from the cheapest to the best; of equals the first."""
    front: list[T] = []
    for item in sorted(items, key=lambda item: (cost(item), loss(item))):
        if not front or loss(item) < loss(front[-1]):
            front.append(item)
    return front


def picture_rows(rows: Sequence[tuple[str, numpy.ndarray]]) -> Figure:
    """Strips uint8[h, w, 3] of one size below one another, each with its name at the left."""

    def draw(label: str, strip: numpy.ndarray, *, panel: Axes) -> None:
        panel.imshow(strip)
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        panel.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8.5, color=INK)

    height, width = rows[0][1].shape[:2]
    figure = on_one_figure([partial(draw, *row) for row in rows], 1, width=9.6, height=8.4 * height / width)
    figure.set_layout_engine("constrained", h_pad=0.01, hspace=0.01)
    return figure


def on_one_figure(
    charts: Sequence[Callable[..., object]], columns: int, *, width: float = 4.6, height: float = 3.2
) -> Figure:
    """Several charts row by row, each called with panel=AXES. width, height: of one, in inches."""
    rows = len(charts) // columns
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    for index, draw in enumerate(charts):
        draw(panel=figure.add_subplot(rows, columns, index + 1))
    return figure


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """The figure as a file, its format by suffix, in one step; UserError where that is not possible.

    options: of matplotlib's `savefig`. The same figure gives the same bytes.
    """
    metadata = {"Date": None} if path.suffix == ".svg" else None
    _keep_dollars(figure)
    with matplotlib.rc_context({"svg.hashsalt": "figure"}), write_atomically(path) as file:
        figure.savefig(file, format=path.suffix[1:], metadata=metadata, **options)


def _keep_dollars(figure: Figure) -> None:
    """Dollars in names are shown as they are; only the numbers of a logarithmic axis are formulas."""
    for text in cast("list[Text]", figure.findobj(Text)):
        if "$" in text.get_text() and "\\mathdefault" not in text.get_text():
            text.set_parse_math(False)


def to_svg(figure: Figure, name: str) -> str:
    """The figure as one <svg> element; `name` keeps its ids apart from those of other figures on a page."""
    _keep_dollars(figure)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": FONT}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return page_svg(buffer.getvalue(), name)


def page_svg(svg: str, name: str) -> str:
    """An SVG file as an element of an HTML page: without prologue and metadata, its ids after `name`."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"\bid=\"", f'id="{name}-', svg)
    svg = re.sub(r"(href=\"|url\()#", rf"\g<1>#{name}-", svg)
    return re.sub(r"font-family: [^;\"]*", f"font-family: '{FONT}', Verdana, sans-serif", svg)


def to_pixels(figure: Figure) -> numpy.ndarray:
    """The figure as uint8[H, W, 3]."""
    _keep_dollars(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return numpy.asarray(canvas.buffer_rgba())[..., :3].copy()


def _figure(width: float, height: float, panel: Axes | None = None) -> tuple[Figure, Axes]:
    """A figure of one chart; or the panel of another that the chart is drawn on."""
    if panel is None:
        figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
    else:
        figure, axes = cast(Figure, panel.figure), panel
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=7.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set(color=INK, fontsize=8.5)
    axes.title.set_fontsize(9.5)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=7.5, labelcolor=INK, loc="best")
