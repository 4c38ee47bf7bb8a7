"""A picture on a page and as a file: panels in rows, heading above, legend below; SVG, PDF or PNG by matplotlib.

matplotlib is used without its global state (no pyplot), so the same picture gives the same bytes.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve2d

from nas.visualize.layout import Placed, Point, place
from nas.visualize.scene import FONT, LEADING, Key, Line, Panel, Picture, block_size, shortened, text_width
from nas.visualize.style import Stroke

__all__ = ["MARK", "PAGES", "Box", "ComposedPage", "compose", "render"]

MARK = "nas.visualize"  # in every file we write, so that we know our own

_GAP = 12.0
_FRAME = 8.0  # between a panel's frame and its drawing
_TITLE = 15.0  # height of a panel's title
_HEAD = 34.0
_MARGIN = 8.0
_ROW = 13.0  # height of a row of the legend
_SAMPLE = 26.0
_KEY_SIZE = 7.5

# What a page should fit: a laptop's browser window; a two-column paper's text block (7.16 in) with room for a caption;
# a telephone held upright, which scrolls.
PAGES = {"screen": (1280.0, 760.0), "paper": (515.5, 620.0), "phone": (350.0, 4000.0)}


@dataclass(frozen=True)
class Box:
    """A panel's frame on the page, in points, y downwards."""

    placed: Placed
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class ComposedPage:
    """A composed page in points; scale: what to multiply all lengths with when drawing."""

    picture: Picture
    boxes: tuple[Box, ...]
    keys: tuple[tuple[Key, float, float], ...]
    notes: tuple[tuple[str, float, float], ...]
    width: float
    height: float
    scale: float = 1.0


def compose(picture: Picture, engine: str, size: str) -> ComposedPage:
    """Lay all panels out, left to right or top to bottom, in rows: whichever gives the largest text on the page."""
    wide, high = PAGES[size]
    best: tuple[float, ComposedPage] | None = None
    for direction in ("LR", "TB"):
        if best is not None and best[1].width <= wide and best[1].height <= high:
            break
        placed = [place(panel, engine, direction) for panel in picture.panels]
        widths = [_frame(item)[0] for item in placed]
        widest, total = max(widths), sum(width + _GAP for width in widths)
        steps = [widest + (max(widest, total) - widest) * step / 40 for step in range(41)]
        for limit in steps:
            if limit > max(widest, 1.15 * wide if size == "screen" else total):
                break
            page = _page(picture, placed, limit)
            # Scrolling down is easy, so on a screen width counts first; text much larger than natural is no gain.
            fit = min(wide / page.width, high / page.height, 1.0)
            if size == "screen":
                fit += 0.5 * min(wide / page.width, 1.0)
            fit -= 0.01 * page.width * page.height / (wide * high)  # among equals the most compact
            if best is None or fit > best[0] * (1.06 if direction == "TB" else 1.001):
                best = fit, page
    assert best is not None  # the widest panel alone is a limit
    page = best[1]
    if size == "screen":
        return page
    # The page's width, and its height too where that costs little; what is far too high goes over several pages.
    return replace(page, scale=min(1.0, wide / page.width, max(high / page.height, 0.85 * wide / page.width)))


def _frame(placed: Placed) -> tuple[float, float]:
    """Width and height of a panel with its title and frame."""
    title, subtitle = _heading(placed.panel)
    wide = text_width(title, 9.0, True) + 8 + text_width(subtitle, 7.0)
    return max(placed.width, wide) + 2 * _FRAME, placed.height + 2 * _FRAME + _TITLE


def _heading(panel: Panel) -> tuple[str, str]:
    """Its title and subtitle as they are drawn."""
    return shortened(panel.title, 9.0, bold=True, widest=240.0), shortened(panel.subtitle, 7.0)


def _column(panels: Sequence[Placed]) -> tuple[float, float]:
    """Width and height of panels below each other."""
    frames = [_frame(placed) for placed in panels]
    return max(width for width, _ in frames), sum(height for _, height in frames) + _GAP * (len(frames) - 1)


def _rows(panels: Sequence[Placed], limit: float) -> list[list[list[Placed]]]:
    """Rows of columns of panels, in reading order. A column holds neighbours, together no higher than the row."""
    rows: list[list[list[Placed]]] = []
    for placed in panels:
        if rows:
            row, column = rows[-1], rows[-1][-1]
            used = sum(_column(other)[0] + _GAP for other in row)
            width, height = _column([*column, placed])
            tallest = max(_column(other)[1] for other in row)
            if height <= tallest + 1 and used - _column(column)[0] + width <= limit + _GAP:
                column.append(placed)
                continue
            if used + _frame(placed)[0] <= limit + 0.5:
                row.append([placed])
                continue
        rows.append([[placed]])
    return rows


def _page(picture: Picture, panels: Sequence[Placed], limit: float) -> ComposedPage:
    boxes, width, y = [], 0.0, _HEAD + _MARGIN
    for row in _rows(panels, limit):
        x = _MARGIN
        for column in row:
            top = y
            for placed in column:
                height = _frame(placed)[1]
                boxes.append(Box(placed, x, top, _column(column)[0], height))
                top += height + _GAP
            x += _column(column)[0] + _GAP
        width = max(width, x - _GAP + _MARGIN)
        y += max(_column(column)[1] for column in row) + _GAP
    width = max(width, 330.0, _MARGIN * 2 + text_width(picture.title, 13.0, True))
    keys, notes = [], []
    for group in picture.keys:
        x = _MARGIN
        # Equal columns read better than a ragged flow.
        wide = max((_SAMPLE + 6 + text_width(key.text, _KEY_SIZE) + 14 for key in group), default=0.0)
        for key in group:
            if x > _MARGIN and x + wide > width:
                x, y = _MARGIN, y + _ROW
            keys.append((key, x, y))
            x += wide
        y += _ROW + 2 if group else 0
    for line in (line for note in picture.notes for line in _wrap(note, width - 2 * _MARGIN)):
        notes.append((line, _MARGIN, y))
        y += 10.5
    box = {"width": width, "height": y + _MARGIN}
    return ComposedPage(picture=picture, boxes=tuple(boxes), keys=tuple(keys), notes=tuple(notes), **box)


def _wrap(text: str, width: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, 7.0) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def render(page: ComposedPage, kind: str, *, dpi: float = 144.0) -> bytes:
    """The bytes of a file; kind "svg", "pdf" or "png". The same page gives the same bytes."""
    artist = _Artist(page)
    metadata = {
        "svg": {"Creator": MARK, "Title": page.picture.title, "Date": None},
        "pdf": {"Creator": MARK, "Title": page.picture.title, "CreationDate": None},
        "png": {"Software": MARK},
    }[kind]
    settings: Any = {"svg.hashsalt": MARK, "svg.fonttype": "none", "pdf.fonttype": 42, "font.family": FONT}
    buffer = io.BytesIO()
    with matplotlib.rc_context(settings):
        artist.figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    data = buffer.getvalue()
    return _with_titles(data.decode(), artist.tooltips).encode() if kind == "svg" else data


def _with_titles(svg: str, tooltips: dict[str, str]) -> str:
    """Give groups a <title>, which browsers show when the pointer rests on them."""

    def add(match: re.Match[str]) -> str:
        name = match.group(1)
        return match.group(0) + (f"<title>{escape(tooltips[name])}</title>" if name in tooltips else "")

    # Verdana is as wide as our font, for machines without it; any other font is narrower and fits too.
    svg = svg.replace(f"font-family: '{FONT}'", f"font-family: '{FONT}', Verdana, sans-serif")
    return re.sub(r'<g id="([^"]+)">', add, svg)


class _Artist:
    """Draws a page on a figure whose data unit is a point (before scaling), y downwards."""

    def __init__(self, page: ComposedPage) -> None:
        self.scale = page.scale
        self.tooltips: dict[str, str] = {}
        self.figure = Figure(figsize=(page.width * page.scale / 72, page.height * page.scale / 72), facecolor="white")
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, page.width), ylim=(page.height, 0))
        self.axes.set_axis_off()
        self._text(Line(text=page.picture.title, size=13.0, bold=True), _MARGIN, _MARGIN + 7)
        self._text(Line(text=page.picture.subtitle, size=7.5, colour="#555555"), _MARGIN, 28.0)
        for box in page.boxes:
            self._panel(box)
        for key, x, y in page.keys:
            if key.stroke:
                self._line([(x, y + 5), (x + _SAMPLE, y + 5)], key.stroke, z=2)
            else:
                self._rounded((x + 4, y, _SAMPLE - 8, 9.5), key.fill, 2.0, z=2, outline=0.5, edge="#222222")
            self._text(Line(text=key.text, size=_KEY_SIZE), x + _SAMPLE + 6, y + 5)
        for text, x, y in page.notes:
            self._text(Line(text=text, size=7.0, colour="#555555"), x, y + 4)

    def _panel(self, box: Box) -> None:
        placed, panel = box.placed, box.placed.panel
        self._rounded((box.x, box.y, box.width, box.height), "#fdfdfd", 4.0, z=0, outline=0.8, edge="#c8c8c8")
        title, subtitle = _heading(panel)
        self._text(Line(text=title, size=9.0, bold=True), box.x + _FRAME, box.y + 11)
        x = box.x + _FRAME + 8 + text_width(title, 9.0, True)
        self._text(Line(text=subtitle, size=7.0, colour="#666666"), x, box.y + 11.5)
        left = box.x + (box.width - placed.width) / 2
        top = box.y + _TITLE + _FRAME

        def at(point: Point) -> Point:
            return left + point[0], top + point[1]

        # Structure first, searched edges above it, labels above all lines.
        for arrow in panel.arrows:
            curve = placed.curves[arrow.key]
            points = [at(point) for point in curve.points]
            gid = self._gid("edge", arrow.key, arrow.tooltip)
            self._line(points, arrow.stroke, z=2 + arrow.stroke.width / 10, curved=True, gid=gid)
            self._arrow(points[-1], at(curve.tip), arrow.stroke)
            if arrow.lines and curve.label:
                x, y = at(curve.label)
                width, height = block_size(arrow.lines)
                gid = self._gid("label", arrow.key, arrow.tooltip)
                self._rounded((x - width / 2 - 1, y - height / 2, width + 2, height), "#fdfdfd", 2, z=3.2, gid=gid)
                self._lines(arrow.lines, x, y, z=3.4)
        for shape in panel.shapes:
            x, y = at(placed.shapes[shape.key])
            width, height = shape.size
            radius = height / 2 if shape.form == "pill" else 3.0
            gid = self._gid("node", f"{panel.title.split()[-1]}/{shape.key}", shape.tooltip)
            frame = (x - width / 2, y - height / 2, width, height)
            self._rounded(frame, shape.fill, radius, z=4, outline=shape.outline, edge="#222222", gid=gid)
            self._lines(shape.lines, x, y, z=5)

    def _gid(self, kind: str, key: str, tooltip: str) -> str:
        gid = f"{kind}:{key}".replace(" ", "_")  # an id holds no blanks
        self.tooltips[gid] = tooltip
        return gid

    def _rounded(
        self,
        frame: tuple[float, float, float, float],
        fill: str,
        radius: float,
        *,
        z: float,
        outline: float = 0,
        edge: str = "black",
        gid: str | None = None,
    ) -> None:
        x, y, width, height = frame
        box = FancyBboxPatch((x, y), width, height, boxstyle=f"round,pad=0,rounding_size={radius}", zorder=z, gid=gid)
        box.set(facecolor=fill, linewidth=outline * self.scale, edgecolor=edge)
        self.axes.add_artist(box)

    def _line(
        self, points: Sequence[Point], stroke: Stroke, *, z: float, curved: bool = False, gid: str | None = None
    ) -> None:
        rest = Curve2d.CURVE4 if curved else Curve2d.LINETO
        path = Curve2d(points, [Curve2d.MOVETO] + [rest] * (len(points) - 1))
        width = stroke.width * self.scale
        outer = width + 2.0 * self.scale if stroke.double else width
        lines = [PathPatch(path, edgecolor=stroke.colour, alpha=stroke.alpha, linewidth=outer, gid=gid)]
        if stroke.double:
            inner = max(1.2 * self.scale, outer - 2.4 * self.scale)
            lines.append(PathPatch(path, edgecolor="white", linewidth=inner))
        for line in lines:
            line.set(fill=False, capstyle="butt", zorder=z)
            if stroke.dashes:
                # matplotlib counts dashes in line widths; ours are points.
                line.set_linestyle((0, tuple(dash / max(stroke.width, 0.5) * 1.2 for dash in stroke.dashes)))
            self.axes.add_artist(line)

    def _arrow(self, start: Point, tip: Point, stroke: Stroke) -> None:
        (x0, y0), (x1, y1) = start, tip
        length = max(1e-6, ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)
        half = 2.0 + 0.5 * stroke.width
        across = (-(y1 - y0) / length * half, (x1 - x0) / length * half)
        corners = [tip, (x0 + across[0], y0 + across[1]), (x0 - across[0], y0 - across[1])]
        head = Polygon(corners, closed=True, facecolor=stroke.colour, alpha=stroke.alpha, linewidth=0, zorder=3)
        self.axes.add_artist(head)

    def _lines(self, lines: Sequence[Line], x: float, y: float, *, z: float) -> None:
        y -= block_size(lines)[1] / 2
        for line in lines:
            self._text(line, x, y + line.size * LEADING / 2, "center", z)
            y += line.size * LEADING

    def _text(self, line: Line, x: float, y: float, side: str = "left", z: float = 5.0) -> None:
        # The baseline is set by hand: `va="center"` would depend on which letters a word has.
        text = self.axes.text(x, y + 0.36 * line.size, line.text, color=line.colour, ha=side, zorder=z)
        text.set(fontsize=line.size * self.scale, fontfamily=FONT, fontweight="bold" if line.bold else "normal")
        text.set_parse_math(False)
