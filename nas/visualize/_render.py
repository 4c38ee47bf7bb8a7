"""A composed page as SVG, PDF or PNG, through matplotlib and without its global state (no pyplot)."""

import io
import re
from xml.sax.saxutils import escape

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Curve2d

from nas.visualize import _page
from nas.visualize._colours import Stroke
from nas.visualize._page import Box, Page
from nas.visualize._scene import FONT, LEADING, Line, block_size

__all__ = ["MARK", "render"]

MARK = "nas.visualize"  # in every file we write, so that we know our own
_FRAME = "#c8c8c8"


def render(page: Page, kind: str, *, dpi: float = 144.0) -> bytes:
    """The bytes of a file; kind "svg", "pdf" or "png". The same page gives the same bytes."""
    artist = _Artist(page)
    metadata = {
        "svg": {"Creator": MARK, "Title": page.picture.title, "Date": None},
        "pdf": {"Creator": MARK, "Title": page.picture.title, "CreationDate": None},
        "png": {"Software": MARK},
    }[kind]
    settings = {"svg.hashsalt": MARK, "svg.fonttype": "none", "pdf.fonttype": 42, "font.family": FONT}
    buffer = io.BytesIO()
    with matplotlib.rc_context(settings):
        artist.figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    data = buffer.getvalue()
    return _with_titles(data.decode(), artist.tooltips).encode() if kind == "svg" else data


def _with_titles(svg: str, tooltips: dict[str, str]) -> str:
    """Give groups a <title>, which browsers show when the pointer rests on them."""

    def add(match: re.Match) -> str:
        name = match.group(1)
        return match.group(0) + (f"<title>{escape(tooltips[name])}</title>" if name in tooltips else "")

    # Verdana is as wide as our font, for machines without it; any other font is narrower and fits too.
    svg = svg.replace(f"font-family: '{FONT}'", f"font-family: '{FONT}', Verdana, sans-serif")
    return re.sub(r'<g id="([^"]+)">', add, svg)


class _Artist:
    """Draws a page on a figure whose data unit is a point (before scaling), y downwards."""

    def __init__(self, page: Page) -> None:
        self.scale = page.scale
        self.tooltips: dict[str, str] = {}
        self.figure = Figure(figsize=(page.width * page.scale / 72, page.height * page.scale / 72), facecolor="white")
        FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, page.width), ylim=(page.height, 0))
        self.axes.set_axis_off()
        title = Line(text=page.picture.title, size=13.0, bold=True)
        self._text(title, _page.MARGIN, _page.MARGIN + 7, "left")
        self._text(Line(text=page.picture.subtitle, size=7.5, colour="#555555"), _page.MARGIN, 28.0, "left")
        for box in page.boxes:
            self._panel(box)
        for key, x, y in page.keys:
            if key.stroke:
                self._line([(x, y + 5), (x + _page.SAMPLE, y + 5)], key.stroke, z=2)
            else:
                self._rounded(x + 4, y, _page.SAMPLE - 8, 9.5, key.fill, 0.5, 2.0, z=2)
            self._text(Line(text=key.text, size=_page.KEY_SIZE), x + _page.SAMPLE + 6, y + 5, "left")
        for text, x, y in page.notes:
            self._text(Line(text=text, size=7.0, colour="#555555"), x, y + 4, "left")

    def _panel(self, box: Box) -> None:
        placed, panel = box.placed, box.placed.panel
        self._rounded(box.x, box.y, box.width, box.height, "#fdfdfd", 0.8, 4.0, z=0, edge=_FRAME)
        title = Line(text=panel.title, size=9.0, bold=True)
        self._text(title, box.x + _page.FRAME, box.y + 11, "left")
        x = box.x + _page.FRAME + 8 + _page.text_width(panel.title, 9.0, True)
        self._text(Line(text=panel.subtitle, size=7.0, colour="#666666"), x, box.y + 11.5, "left")
        left = box.x + (box.width - placed.width) / 2
        top = box.y + _page.TITLE + _page.FRAME

        def at(point: tuple[float, float]) -> tuple[float, float]:
            return left + point[0], top + point[1]

        # Structure first, searched edges above it, labels above all lines.
        for link in panel.links:
            curve = placed.curves[link.key]
            points = [at(point) for point in curve.points]
            gid = self._gid("edge", link.key, link.tooltip)
            self._line(points, link.stroke, z=2 + link.stroke.width / 10, curved=True, gid=gid)
            self._arrow(points, at(curve.tip), link.stroke)
            if link.lines and curve.label:
                self._label(link.lines, *at(curve.label), gid=self._gid("label", link.key, link.tooltip))
        for shape in panel.shapes:
            x, y = at(placed.shapes[shape.key])
            width, height = shape.size
            radius = height / 2 if shape.form == "pill" else 3.0
            gid = self._gid("node", f"{panel.title.split()[-1]}/{shape.key}", shape.tooltip)
            frame = (x - width / 2, y - height / 2, width, height)
            self._rounded(*frame, shape.fill, shape.outline, radius, z=4, gid=gid)
            self._lines(shape.lines, x, y, z=5)

    def _gid(self, kind: str, key: str, tooltip: str) -> str:
        gid = f"{kind}:{key}".replace(" ", "_")  # an id holds no blanks
        self.tooltips[gid] = tooltip
        return gid

    def _rounded(self, x, y, width, height, fill, outline, radius, *, z, edge="#222222", gid=None) -> None:
        style = f"round,pad=0,rounding_size={radius}"
        line = {"linewidth": outline * self.scale, "edgecolor": edge}
        self.axes.add_artist(
            FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=fill, zorder=z, gid=gid, **line)
        )

    def _line(self, points, stroke: Stroke, *, z: float, curved: bool = False, gid: str | None = None) -> None:
        rest = Curve2d.CURVE4 if curved else Curve2d.LINETO
        path = Curve2d(points, [Curve2d.MOVETO] + [rest] * (len(points) - 1))
        width = stroke.width * self.scale
        common = {"fill": False, "capstyle": "butt", "zorder": z}
        if stroke.dashes:
            # matplotlib counts dashes in line widths; ours are points.
            common["linestyle"] = (0, tuple(dash / max(stroke.width, 0.5) * 1.2 for dash in stroke.dashes))
        outer = width + 2.0 * self.scale if stroke.double else width
        self.axes.add_artist(
            PathPatch(path, edgecolor=stroke.colour, alpha=stroke.alpha, linewidth=outer, gid=gid, **common)
        )
        if stroke.double:
            inner = max(1.2 * self.scale, outer - 2.4 * self.scale)
            self.axes.add_artist(PathPatch(path, edgecolor="white", linewidth=inner, **common))

    def _arrow(self, points, tip, stroke: Stroke) -> None:
        (x0, y0), (x1, y1) = points[-1], tip
        length = max(1e-6, ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5)
        half = 2.0 + 0.5 * stroke.width
        across = (-(y1 - y0) / length * half, (x1 - x0) / length * half)
        corners = [tip, (x0 + across[0], y0 + across[1]), (x0 - across[0], y0 - across[1])]
        self.axes.add_artist(
            Polygon(corners, closed=True, facecolor=stroke.colour, alpha=stroke.alpha, linewidth=0, zorder=3)
        )

    def _label(self, lines: tuple[Line, ...], x: float, y: float, gid: str) -> None:
        width, height = block_size(lines)
        back = FancyBboxPatch(
            (x - width / 2 - 1, y - height / 2),
            width + 2,
            height,
            boxstyle="round,pad=0,rounding_size=2",
            facecolor="#fdfdfd",
            linewidth=0,
            zorder=3.2,
            gid=gid,
        )
        self.axes.add_artist(back)
        self._lines(lines, x, y, z=3.4)

    def _lines(self, lines: tuple[Line, ...], x: float, y: float, *, z: float) -> None:
        y -= block_size(lines)[1] / 2
        for line in lines:
            self._text(line, x, y + line.size * LEADING / 2, "center", z=z)
            y += line.size * LEADING

    def _text(self, line: Line, x: float, y: float, side: str, z: float = 5.0) -> None:
        # The baseline is set by hand: `va="center"` would depend on which letters a word has.
        self.axes.text(
            x,
            y + 0.36 * line.size,
            line.text,
            fontsize=line.size * self.scale,
            fontfamily=FONT,
            fontweight="bold" if line.bold else "normal",
            color=line.colour,
            ha=side,
            va="baseline",
            parse_math=False,
            zorder=z,
        )
