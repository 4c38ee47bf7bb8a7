"""What a picture holds, whatever lays it out: panels of shapes and arrows, and a legend. Lengths in points."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from nas.visualize.style import Stroke

__all__ = [
    "FONT",
    "LEADING",
    "Key",
    "Line",
    "Arrow",
    "Panel",
    "Picture",
    "Shape",
    "block_size",
    "shortened",
    "text_width",
]

FONT = "DejaVu Sans"  # comes with matplotlib, so text is as wide on every machine
LEADING = 1.25


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of text."""

    text: str
    size: float = 8.0
    bold: bool = False
    colour: str = "#222222"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A box with text. key: unique in its panel; form: "box", or "pill" for what comes from outside the panel."""

    key: str
    lines: tuple[Line, ...]
    fill: str
    form: str = "box"
    outline: float = 0.6
    tooltip: str = ""

    @property
    def size(self) -> tuple[float, float]:
        width, height = block_size(self.lines)
        return max(28.0, width + (14.0 if self.form == "pill" else 10.0)), height + 7.0


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An arrow from one shape of the panel to another. key: unique in the picture."""

    key: str
    source: str
    target: str
    stroke: Stroke
    lines: tuple[Line, ...] = ()
    tooltip: str = ""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A titled graph."""

    title: str
    subtitle: str
    shapes: tuple[Shape, ...]
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True, kw_only=True)
class Key:
    """An entry of the legend: a line sample or a filled patch, with its text. operation: what the sample stands for."""

    text: str
    stroke: Stroke | None = None
    fill: str = ""
    operation: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Panels in their order, with a heading above and a legend (rows of keys, then notes) below."""

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    keys: tuple[tuple[Key, ...], ...] = ()
    notes: tuple[str, ...] = ()


@functools.cache
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width in points of a line of text."""
    if not text:
        return 0.0
    prop = FontProperties(family=FONT, weight="bold" if bold else "normal")
    # Control points bound the outline; exact extents of its curves take a hundred times longer.
    return float(TextPath((0, 0), text, size=size, prop=prop).vertices[:, 0].max())


def shortened(text: str, size: float, *, bold: bool = False, widest: float = 480.0) -> str:
    """A name without its middle where it is wider than so many points: names of one origin differ at their ends."""
    shown, keep = text, len(text)
    while keep > 200 or (width := text_width(shown, size, bold)) > widest:  # measuring a page of text takes a while
        keep = 200 if keep > 200 else min(keep - 1, int(keep * widest / width))
        shown = f"{text[: keep - keep // 2]}…{text[len(text) - keep // 2 :]}"
    return shown


def block_size(lines: Sequence[Line]) -> tuple[float, float]:
    """Width and height in points of lines set below each other."""
    width = max((text_width(line.text, line.size, line.bold) for line in lines), default=0.0)
    return width, sum(line.size * LEADING for line in lines)
