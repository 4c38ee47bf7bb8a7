"""What a page is made of: sections of texts, facts, tables, charts and drawings; one template shows them."""

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from genotypes import Genotype
from genotypes.files import quoted
from nas.command import as_started
from nas.run_files import Run
from nas.visualize import render_svg
from nas.visualize.charts import GRID, INK, MUTED, PAPER, lines, to_svg
from nas.visualize.layout import dot_is_there

__all__ = [
    "Charts",
    "Code",
    "Drawing",
    "Facts",
    "Keys",
    "Link",
    "Page",
    "Part",
    "Photograph",
    "Section",
    "Table",
    "Text",
    "charts",
    "cost",
    "curves",
    "drawing",
    "number",
    "origin",
    "photograph",
    "predictions",
    "render",
    "versions",
]

# The colours of charts that a page replaces by its own, light or dark.
_INKS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", PAPER: "var(--paper)"}


@dataclass(frozen=True)
class Part:
    @property
    def kind(self) -> str:
        """What the template calls it."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Text(Part):
    text: str
    muted: bool = False


@dataclass(frozen=True)
class Facts(Part):
    """Pairs of a label and what there is to say."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to a file beside the page."""

    text: str
    href: str


@dataclass(frozen=True)
class Table(Part):
    """strong: indices of the rows that are set in bold."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Link]]
    caption: str = ""
    strong: Sequence[int] = ()

    def is_number(self, column: int) -> bool:
        """Whether all cells of a column look like numbers."""
        texts = [row[column] for row in self.rows]
        return all(isinstance(text, str) and text.lstrip("+-−")[:1].isdigit() for text in texts if text)


@dataclass(frozen=True)
class Charts(Part):
    """size: "" (beside each other), "small" (many small ones), "large" (one alone)."""

    charts: Sequence[Markup]
    caption: str = ""
    size: str = ""


@dataclass(frozen=True)
class Keys(Part):
    """A legend: a sample and its text each."""

    keys: Sequence[tuple[Markup, str]]


@dataclass(frozen=True)
class Drawing(Part):
    """The drawing of a genotype for wide screens and for telephones."""

    wide: Markup
    narrow: Markup
    caption: str = ""


@dataclass(frozen=True)
class Photograph(Part):
    data: str
    caption: str


@dataclass(frozen=True)
class Code(Part):
    """Lines as they are. summary: of what is folded away."""

    text: str
    summary: str = ""


@dataclass(frozen=True)
class Section:
    """key: its place in the page, as in report.html#key."""

    key: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, kw_only=True)
class Page:
    """state: how far the run came, in a few words; complete: whether it is done."""

    title: str
    state: str
    complete: bool
    sections: Sequence[Section]

    @property
    def subtitle(self) -> str:
        return f"page made {datetime.now():%Y-%m-%d %H:%M}"


def render(page: Page) -> str:
    """The page as HTML, in one piece; all texts are escaped."""
    environment = Environment(
        loader=PackageLoader("nas.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(page=page)


def charts(name: str, figures: Sequence[Figure], *, caption: str = "", size: str = "") -> Charts:
    """Figures as a part of a page. name: no other part of the page has it."""
    drawn = []
    for index, figure in enumerate(figures):
        svg = to_svg(figure, f"{name}{index}")
        for colour, variable in _INKS.items():
            svg = svg.replace(colour, variable)
        drawn.append(Markup(svg))
    return Charts(drawn, caption, size)


def curves(history: Sequence[Mapping[str, Any]], shown: Mapping[str, Mapping[str, str]]) -> Section | None:
    """The columns of a history, a chart each; shown: title -> label -> column. What nobody measured is left out."""
    if not history:
        return None
    figures = []
    for title, columns in shown.items():
        series = {label: [row.get(key, math.nan) for row in history] for label, key in columns.items()}
        series = {label: values for label, values in series.items() if any(value == value for value in values)}
        if series:
            figures.append(lines([row["step"] for row in history], series, title=title))
    return Section("curves", "Curves", [charts("curves", figures, caption="One point per evaluation (history.csv).")])


def predictions(run: Run, caption: str) -> Section | None:
    """RUN/predictions.png, where it is there."""
    path = run.path / "predictions.png"
    return Section("predictions", "Predictions", [photograph(path, caption)]) if path.is_file() else None


def drawing(name: str, genotype: Genotype, *, caption: str = "", **look: Any) -> Drawing:
    """A genotype's cells (or, with what="network", its overview) as a part of a page; `look` as in `draw`."""
    engine = "auto" if dot_is_there() else "matplotlib"  # whoever drew the run's files has said that dot is missing
    wide = render_svg(genotype, name=f"{name}w", size="screen", engine=engine, **look)
    narrow = render_svg(genotype, name=f"{name}n", size="phone", engine=engine, **look)
    return Drawing(Markup(wide), Markup(narrow), caption)


def photograph(path: Path, caption: str) -> Photograph:
    """A PNG file as a part of a page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return Photograph(f"data:image/png;base64,{data}", caption)


def number(value: Any, sign: str = "") -> str:
    """A number for a table; empty for what is none (None, NaN)."""
    if not isinstance(value, int | float) or value != value:
        return ""
    return f"{value:{sign},}" if isinstance(value, int) else f"{value:{sign}.4f}"


def cost(value: float) -> str:
    """A cost for a table: whole where it is large, with four digits where it is small."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def origin(run: Run, *commands: str) -> Section:
    """How the run was made, and how to make it again; commands: what may come next."""
    environment = run.environment
    typed = [argv for argv in (environment.get("command"), *(environment.get("continued") or ())) if argv]
    again = f"python -m nas.report {quoted(run.path)}      # this page again"
    files = sorted(path.name + "/" * path.is_dir() for path in run.path.iterdir() if not path.name.startswith("."))
    return Section(
        "origin",
        "Commands and versions",
        [
            Code("\n".join([*map(shlex.join, typed), *map(as_started, (*commands, again))])),
            versions(environment),
            Facts([("files", ", ".join(files))]),
            Code((run.path / "config.yaml").read_text(encoding="utf-8"), "config.yaml: every setting"),
        ],
    )


def versions(environment: Mapping[str, Any]) -> Facts:
    """What something was made with; environment: as a run's environment.json holds it."""
    packages = environment.get("packages") or {}
    return Facts(
        [
            ("python", f"{environment.get('python', '?')} on {environment.get('platform', '?')}"),
            ("packages", ", ".join(f"{name} {version}" for name, version in packages.items())),
            ("code", environment.get("commit") or "not in a git checkout"),
            ("device", environment.get("gpu") or f"CPU, threads: {environment.get('threads', '?')}"),
        ]
    )
