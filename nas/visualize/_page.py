"""Panels on a page: rows in reading order, small neighbours stacked, the heading above and the legend below."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas.visualize._layout import Placed, place
from nas.visualize._scene import Key, Picture, text_width

__all__ = ["Box", "Page", "compose"]

GAP = 12.0
FRAME = 8.0  # between a panel's frame and its drawing
TITLE = 15.0  # height of a panel's title
HEAD = 34.0
MARGIN = 8.0
ROW = 13.0  # height of a row of the legend
SAMPLE = 26.0
KEY_SIZE = 7.5

# What a page should fit: a laptop's browser window; a two-column paper's text block (7.16 in) with room for a caption.
PAGES = {"screen": (1280.0, 760.0), "paper": (515.5, 620.0)}


@dataclass(frozen=True)
class Box:
    """A panel's frame on the page, in points, y downwards."""

    placed: Placed
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Page:
    """A composed page in points; scale: what to multiply all lengths with when drawing."""

    picture: Picture
    boxes: tuple[Box, ...]
    keys: tuple[tuple[Key, float, float], ...]
    notes: tuple[tuple[str, float, float], ...]
    width: float
    height: float
    scale: float


def compose(picture: Picture, engine: str, size: str) -> Page:
    """Lay all panels out, left to right or top to bottom, in rows: whichever gives the largest text on the page."""
    wide, high = PAGES[size]
    best: tuple[float, Page] | None = None
    for direction in ("LR", "TB"):
        if best is not None and best[1].width <= wide and best[1].height <= high:
            break
        placed = [place(panel, engine, direction) for panel in picture.panels]
        sizes = [_frame(item) for item in placed]
        widest = max(width for width, _ in sizes)
        total = sum(width + GAP for width, _ in sizes)
        steps = [widest + (max(widest, total) - widest) * step / 40 for step in range(41)]
        limits = [limit for limit in steps if limit <= max(widest, 1.15 * wide if size == "screen" else total)]
        for limit in limits:
            page = _page(picture, placed, sizes, limit)
            # Scrolling down is easy, so on a screen width counts first; text much larger than natural is no gain.
            fit = min(wide / page.width, high / page.height, 1.0)
            if size == "screen":
                fit += 0.5 * min(wide / page.width, 1.0)
            fit -= 0.01 * page.width * page.height / (wide * high)  # among equals the most compact
            if best is None or fit > best[0] * (1.06 if direction == "TB" else 1.001):
                best = fit, page
    page = best[1]
    scale = 1.0
    if size == "paper":
        # The page's width, and its height too where that costs little; what is far too high goes over several pages.
        scale = min(1.0, wide / page.width, max(high / page.height, 0.85 * wide / page.width))
    return Page(**{**page.__dict__, "scale": scale})


def _frame(placed: Placed) -> tuple[float, float]:
    panel = placed.panel
    title = text_width(panel.title, 9.0, True) + 8 + text_width(panel.subtitle, 7.0)
    return max(placed.width, title) + 2 * FRAME, placed.height + 2 * FRAME + TITLE


def _page(picture: Picture, placed: Sequence[Placed], sizes: Sequence[tuple[float, float]], limit: float) -> Page:
    boxes, width, y = [], 0.0, HEAD + MARGIN
    for row in _rows(sizes, limit):
        x = MARGIN
        height = max(sum(sizes[i][1] for i in column) + GAP * (len(column) - 1) for column in row)
        for column in row:
            wide = max(sizes[i][0] for i in column)
            top = y
            for i in column:
                boxes.append(Box(placed[i], x, top, wide, sizes[i][1]))
                top += sizes[i][1] + GAP
            x += wide + GAP
        width = max(width, x - GAP + MARGIN)
        y += height + GAP
    width = max(width, 330.0, MARGIN * 2 + text_width(picture.title, 13.0, True))
    keys, notes, y = _legend(picture, width, y)
    return Page(picture=picture, boxes=tuple(boxes), keys=keys, notes=notes, width=width, height=y + MARGIN, scale=1.0)


def _rows(sizes: Sequence[tuple[float, float]], limit: float) -> list[list[list[int]]]:
    """Rows of columns of panels, in reading order. A column holds neighbours, together no higher than the row."""
    rows: list[list[list[int]]] = []
    for index, (width, height) in enumerate(sizes):
        if rows:
            row = rows[-1]
            column = row[-1]
            tallest = max(sum(sizes[i][1] + GAP for i in c) - GAP for c in row)
            stacked = sum(sizes[i][1] + GAP for i in column) + height
            used = sum(max(sizes[i][0] for i in c) + GAP for c in row)
            grown = used - max(sizes[i][0] for i in column) + max(width, *(sizes[i][0] for i in column))
            if stacked <= tallest + 1 and grown <= limit + GAP:
                column.append(index)
                continue
            if used + width <= limit + 0.5:
                row.append([index])
                continue
        rows.append([[index]])
    return rows


def _legend(picture: Picture, width: float, y: float) -> tuple[tuple, tuple, float]:
    keys, notes = [], []
    for group in picture.keys:
        x = MARGIN
        # Equal columns read better than a ragged flow.
        column = max((SAMPLE + 6 + text_width(key.text, KEY_SIZE) + 14 for key in group), default=0.0)
        for key in group:
            if x > MARGIN and x + column > width:
                x, y = MARGIN, y + ROW
            keys.append((key, x, y))
            x += column
        y += ROW + 2 if group else 0
    for note in picture.notes:
        for line in _wrap(note, width - 2 * MARGIN):
            notes.append((line, MARGIN, y))
            y += 10.5
    return tuple(keys), tuple(notes), y


def _wrap(text: str, width: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, 7.0) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
