"""What is on a picture: the cells of a genotype, a panel each, or the overview of its network.

Boxes are features, filled by stride; arrows are edges, coloured by operation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from genotypes import OPERATIONS, Edge, Genotype, Node, UserError
from genotypes.errors import plural
from nas.visualize.scene import Arrow, Key, Line, Panel, Picture, Shape, shortened
from nas.visualize.style import (
    OPEN,
    Stroke,
    darker,
    operation_label,
    operation_stroke,
    stride_colour,
    text_colour,
)
from nas.visualize.text import (
    Probabilities,
    around_cells,
    blocks_text,
    check_probabilities,
    differences,
    edge_steps,
    edge_tooltip,
    likeliest,
)

__all__ = ["Mark", "cells_picture", "difference_picture", "network_picture", "occurring_operations"]

_GREY, _PLAIN = "#555555", "#f2f2f2"
_OUTLINES = {"output": 2.2, "read by other cells": 1.3, "": 0.5}


@dataclass(frozen=True)
class Mark:
    """What is to be said about an edge: a text below its label, and how strong its arrow is drawn, from 0 to 1."""

    text: str
    strength: float


@dataclass(frozen=True, kw_only=True)
class _View:
    """A genotype and how to look at it; see `draw`. compact: texts on more, shorter lines; label: before keys."""

    genotype: Genotype
    probabilities: Probabilities
    marks: Mapping[str, Mark]
    hide_none: bool = False
    compact: bool = False
    label: str = ""


def cells_picture(
    genotype: Genotype,
    probabilities: Probabilities | None = None,
    *,
    marks: Mapping[str, Mark] | None = None,
    hide_none: bool = False,
    compact: bool = False,
) -> Picture:
    """Panels of all cells in the order of computation; cells that differ only in name and sources share one.

    Arguments as in `draw`; compact: texts on more, shorter lines. Raises UserError for probabilities of an edge or
    operation that is not there.
    """
    probabilities = check_probabilities(genotype, probabilities)
    view = _View(
        genotype=genotype, probabilities=probabilities, marks=marks or {}, hide_none=hide_none, compact=compact
    )
    cells = genotype.graph.cells
    order = list(cells)
    groups: dict[Any, list[str]] = {}
    for cell, nodes in cells.items():
        groups.setdefault(_signature(view, nodes), []).append(cell)
    opened = len(genotype.open_edges())
    backbone = f"{genotype.backbone.name} backbone, " if genotype.backbone else ""
    counts = f"{plural(len(order), 'cell')}, {plural(len(genotype.graph.edges), 'edge')}"
    state = f"{opened} of them open" if opened else "all decided"
    strides = {node.stride for node in genotype.graph.nodes.values() if node.kind != "image"}
    return Picture(
        title=shortened(genotype.name, 13.0, bold=True),
        subtitle=f"{backbone}{counts}, {state}, hash {genotype.hash[:12]}",
        panels=tuple(_panel(view, alike, cells[alike[0]], order.index(alike[0]) + 1) for alike in groups.values()),
        keys=(_operation_keys(view), _stride_keys(strides)),
        notes=_notes(view),
    )


def occurring_operations(genotype: Genotype, probabilities: Probabilities | None = None) -> list[str]:
    """The operations a drawing shows: those of decided edges, and the leading one of open edges with probabilities."""
    shown = {likeliest(edge, probabilities or {}) for edge in genotype.graph.edges.values()}
    return sorted((op for op in shown if op is not None), key=list(OPERATIONS).index)


def _template(genotype: Genotype, cell: str) -> str:
    return next(item.template for item in genotype.cells if item.name == cell)


def _signature(view: _View, nodes: Sequence[Node]) -> Any:
    """Equal for cells that draw alike. Features from outside count by stride and width, and by order of appearance."""
    names = {node.name: node.local for node in nodes}
    outside: dict[str, tuple] = {}
    parts: list[tuple] = []
    for node in nodes:
        leaves = _how_it_leaves(view.genotype, node)
        parts.append((node.local, node.stride, node.width, node.combine, node.post, leaves))
        for edge in node.edges:
            source = edge.source
            if source not in names:
                origin = view.genotype.graph[source]
                outside.setdefault(source, (len(outside), origin.stride, origin.width))
            shares = tuple(sorted(view.probabilities.get(edge.id, {}).items()))
            way = (edge.name, edge.op, edge.pre, edge.post, edge.width, edge.choice)
            parts.append((names.get(source) or outside[source], *way, shares, view.marks.get(edge.id)))
    return tuple(parts)


def _panel(view: _View, cells: list[str], nodes: Sequence[Node], number: int) -> Panel:
    """The panel of a cell that `cells` (itself, and others alike) share."""
    shapes: dict[str, Shape] = {}
    arrows, pills = [], 0
    for node in nodes:
        for edge in node.edges:
            if view.hide_none and likeliest(edge, view.probabilities) == "none":
                continue
            source = view.genotype.graph[edge.source]
            if source not in nodes and source.name not in shapes:
                pills += 1
                shapes[source.name] = _pill(view, source, f"input {pills}" if len(cells) > 1 else "")
            arrows.append(_arrow(view, edge, node))
        shapes[node.name] = _feature(view, node)
    subtitle = _template(view.genotype, cells[0])
    if len(cells) > 1:
        others = cells if len(cells) <= 4 else [*cells[:2], "…", cells[-1]]
        subtitle += f", {len(cells)} cells alike: {', '.join(others)}"
    title = f"{number}  {cells[0]}"
    return Panel(title=title, subtitle=subtitle, shapes=tuple(shapes.values()), arrows=tuple(arrows))


def _operation_keys(view: _View) -> tuple[Key, ...]:
    keys = []
    for op in occurring_operations(view.genotype, view.probabilities):
        if op == "none" and view.hide_none:
            continue
        short = operation_label(op)
        text = op if short == op.replace("_", " ").replace("3x3", "3×3") else f"{op}  ({short})"
        keys.append(Key(text=text, stroke=operation_stroke(op), operation=op))
    if set(view.genotype.open_edges()) - set(view.probabilities):
        keys.append(Key(text="open edge", stroke=OPEN))
    return tuple(keys)


def _stride_keys(strides: set[int]) -> tuple[Key, ...]:
    """The legend's patches, finest stride first."""
    return tuple(Key(text=f"stride {stride}", fill=stride_colour(stride)) for stride in sorted(strides))


def _notes(view: _View) -> tuple[str, ...]:
    edges = view.genotype.graph.edges.values()
    notes = []
    if view.marks:
        notes.append("Width and opacity of an arrow follow the number or word below its label.")
    elif any(edge.choice for edge in edges) and not view.probabilities:
        notes.append("Thick arrows: what a search can decide; thin: fixed.")
    if view.probabilities:
        notes.append("Open edges show their leading candidate; width and opacity are its probability.")
    if any(edge.pre or edge.post for edge in edges):
        notes.append("Labels read downwards in the order of computation; ↓2 halves height and width, ↑2 doubles them.")
    notes.append("Pills come from elsewhere. A bold outline leaves the cell, the boldest is an output of the network.")
    lists = sorted(set(view.genotype.open_edges().values()))
    notes += [f"{len(candidates)} candidates: {', '.join(candidates)}." for candidates in lists[:3]]
    return tuple(notes)


def _how_it_leaves(genotype: Genotype, node: Node) -> str:
    """How a feature leaves its cell: as an "output" of the network, "read by other cells", or "" (it does not)."""
    if node.name in genotype.outputs:
        return "output"
    graph = genotype.graph
    read = any(graph[reader].cell != node.cell for reader in graph.readers[node.name])
    return "read by other cells" if read else ""


def _shape(
    key: str,
    texts: Iterable[tuple[str, float]],
    fill: str,
    *,
    bold: bool = True,
    form: str = "box",
    outline: float = 0.5,
    tooltip: str = "",
) -> Shape:
    """A shape with these (text, size), the first of them bold, in black or white: whichever reads better on `fill`."""
    colour = text_colour(fill)
    lines = []
    for index, (text, size) in enumerate(texts):
        heavy = bold and index == 0
        text = shortened(text, size, bold=heavy, widest=240.0)
        lines.append(Line(text=text, size=size, bold=heavy, colour=colour))
    return Shape(key=key, lines=tuple(lines), fill=fill, form=form, outline=outline, tooltip=tooltip)


def _feature(view: _View, node: Node) -> Shape:
    """A feature of the panel's own cell."""
    details = [f"{node.width} ch"]
    if node.combine == "concat":
        details.append("concat")
    if node.post != "none":
        details.append(node.post.replace("_", " "))
    leaves = _how_it_leaves(view.genotype, node)
    assert node.size is not None
    size = f"{node.size.rule.replace('_', ' ')} {node.size.of}"
    what = f"stride {node.stride}, {plural(node.width, 'channel')}, {node.combine}, post {node.post}"
    lines = details if view.compact else [" · ".join(details)]
    return _shape(
        node.name,
        [(node.local, 8.5), *((text, 6.5) for text in lines)],
        stride_colour(node.stride),
        outline=_OUTLINES[leaves],
        tooltip=f"{node.name}: {what}, size {size}" + (f"; {leaves}" if leaves else ""),
    )


def _pill(view: _View, node: Node, text: str) -> Shape:
    """A feature from outside the panel's cell; `text`, if any, in place of its name."""
    names = [text or node.name]
    if view.compact and not text and node.cell:
        names = [f"{node.cell}.", node.local]
    return _shape(
        node.name,
        [*((part, 8.0) for part in names), (f"{node.width} ch", 6.5)],
        "#ffffff" if node.kind == "image" else stride_colour(node.stride),
        bold=False,
        form="pill",
        tooltip=f"{node.name}: stride {node.stride}, {plural(node.width, 'channel')}",
    )


def _arrow(view: _View, edge: Edge, target: Node) -> Arrow:
    """The arrow of an edge, with its label: what resamples before, the operation, what resamples after."""
    stride = view.genotype.graph[edge.source].stride
    before, after = edge_steps(edge, stride, target.stride)
    shares = view.probabilities.get(edge.id, {})
    stroke, text = _stroke_and_label(edge, likeliest(edge, view.probabilities), shares)
    mark = view.marks.get(edge.id)
    if mark:
        stroke = replace(stroke, width=0.6 + 3.4 * mark.strength, alpha=0.35 + 0.65 * mark.strength)
    lines = [Line(text=step, size=6.5, colour=_GREY) for step in before]
    texts = _halves(text) if view.compact else [text]
    lines += [Line(text=part, size=7.5, colour=darker(stroke.colour)) for part in texts if part]
    lines += [Line(text=step, size=6.5, colour=_GREY) for step in after]
    lines += [Line(text=mark.text, size=7.5, bold=True)] if mark and mark.text else []
    return Arrow(
        key=view.label + edge.id,
        source=edge.source,
        target=target.name,
        stroke=stroke,
        lines=tuple(lines),
        tooltip=edge_tooltip(edge, target.name, stride, target.stride, shares),
    )


def _stroke_and_label(edge: Edge, shown: str | None, shares: Mapping[str, float]) -> tuple[Stroke, str]:
    if shown is None:
        return OPEN, f"{len(edge.op)} candidates"
    stroke = operation_stroke(shown)
    if shares:
        share = shares.get(shown, 0.0)
        stroke = replace(stroke, width=0.6 + 3.4 * share, alpha=0.35 + 0.65 * share)
        return stroke, f"{operation_label(shown)} {share:.0%}"
    if edge.choice or edge.is_open:
        return replace(stroke, width=1.6 * stroke.width), operation_label(shown)
    # A fixed edge that passes a feature on says nothing: its thin black line is enough.
    return stroke, "" if shown == "skip_connect" else operation_label(shown)


def _halves(text: str) -> list[str]:
    """The text in two lines, broken at the blank nearest to its middle."""
    blanks = [index for index, letter in enumerate(text) if letter == " "]
    if not blanks:
        return [text]
    cut = min(blanks, key=lambda index: abs(index - len(text) / 2))
    return [text[:cut], text[cut + 1 :]]


def difference_picture(first: Genotype, second: Genotype, *, compact: bool = False) -> Picture:
    """The cells that differ, each as it is in both, A and B; what is alike in a cell is faded.

    Raises UserError where no cell differs.
    """
    views = [
        _View(genotype=one, probabilities={}, marks=_marks(one, other), compact=compact, label=f"{label}/")
        for label, one, other in (("A", first, second), ("B", second, first))
    ]
    order = list(dict.fromkeys([*first.graph.cells, *second.graph.cells]))
    panels = []
    for number, cell in enumerate(order, start=1):
        nodes = [view.genotype.graph.cells.get(cell, ()) for view in views]
        if nodes[0] == nodes[1] and (cell in first.graph.cells) == (cell in second.graph.cells):
            continue
        for view, own in zip(views, nodes, strict=True):
            if own:
                panel = _panel(view, [cell], own, number)
                panels.append(replace(panel, title=f"{panel.title} in {view.label[0]}"))
    if not panels:
        raise UserError(f"{first.name} and {second.name} have the same cells: there is nothing to draw")
    drawn = {arrow.key.partition("/")[2] for panel in panels for arrow in panel.arrows}
    shown = {edge.op for view in views for edge in view.genotype.graph.edges.values() if edge.id in drawn}
    operations = dict.fromkeys(key for view in views for key in _operation_keys(view) if key.operation in shown | {""})
    strides = {node.stride for view in views for node in view.genotype.graph.nodes.values() if node.kind != "image"}
    around, named = around_cells(first, second), (("A", first), ("B", second))
    changed = len(differences(first, second)) - len(around)
    beside = ("Not drawn: " + "; ".join(around) + ".",) if around else ()
    return Picture(
        title="    ".join(f"{label}: {shortened(one.name, 13.0, bold=True, widest=300.0)}" for label, one in named),
        subtitle=f"{plural(changed, 'difference')} in {plural(len({panel.title[:-5] for panel in panels}), 'cell')}",
        panels=tuple(panels),
        keys=(tuple(operations), _stride_keys(strides)),
        notes=(*beside, "Faded: alike in both. Cells that are alike are left out.", *_notes(views[0])[1:]),
    )


def _marks(genotype: Genotype, other: Genotype) -> dict[str, Mark]:
    """Strong for edges that the other genotype has not, or has differently; faded for the rest."""
    edges = {edge.id: (node.name, edge) for node in other.graph.nodes.values() for edge in node.edges}
    marks = {}
    for node in genotype.graph.nodes.values():
        for edge in node.edges:
            there = edges.get(edge.id)
            marks[edge.id] = Mark("" if there else "only here", float(there != (node.name, edge)))
    return marks


def network_picture(genotype: Genotype) -> Picture:
    """The overview: backbone, taps, cells and outputs; an arrow is a feature that a cell reads, coloured by stride."""
    graph = genotype.graph
    shapes: dict[str, Shape] = {}
    arrows: list[Arrow] = []
    taps = genotype.backbone.taps if genotype.backbone else ()
    strides = {graph[name].stride for name in (*taps, *genotype.outputs)}

    def box(key: str, detail: str, fill: str, *, title: str = "", form: str = "pill", outline: float = 0.8) -> None:
        texts = [(title or key, 9.0), (detail, 7.0)]
        tooltip = f"{title or key}: {detail}"
        shapes[key] = _shape(key, texts, fill, form=form, outline=outline, tooltip=tooltip)

    def arrow(source: str, target: str, feature: str, key: str) -> None:
        stride = graph[feature].stride
        # The palest strides would vanish as lines on white.
        colour = darker(stride_colour(stride), 0.6 if stride < 4 else 0.45 if stride < 16 else 0.2)
        stroke = Stroke(colour="#888888" if feature == "image" else colour, width=1.4)
        arrows.append(
            Arrow(key=key, source=source, target=target, stroke=stroke, tooltip=f"{feature}, stride {stride}")
        )

    if genotype.backbone or any(graph[reader].cell for reader in graph.readers["image"]):
        box("image", "3 ch", "#ffffff")
    if genotype.backbone:
        changed = blocks_text(genotype.backbone)
        box("backbone", changed or "backbone", _PLAIN, title=genotype.backbone.name, form="box")
        arrow("image", "backbone", "image", "image")
        for tap in sorted(taps, key=lambda tap: graph[tap].stride):
            box(tap, f"{graph[tap].width} ch", stride_colour(graph[tap].stride))
            arrow("backbone", tap, tap, tap)
    seen = set()
    for cell, nodes in graph.cells.items():
        shapes[cell] = _cell_box(genotype, cell, nodes)
        for source in (edge.source for node in nodes for edge in node.edges):
            origin = graph[source].cell or source
            if origin != cell and (source, cell) not in seen:
                seen.add((source, cell))
                if source != "image":
                    strides.add(graph[source].stride)
                arrow(origin, cell, source, f"{source} to {cell}")
    for number, output in enumerate(genotype.outputs, start=1):
        key = f"output {number}"
        box(key, output, stride_colour(graph[output].stride), outline=2.2)
        arrow(graph[output].cell, key, output, f"{output} to {key}")
    return Picture(
        title=shortened(genotype.name, 13.0, bold=True),
        subtitle=f"network overview, {plural(len(genotype.cells), 'cell')}, hash {genotype.hash[:12]}",
        panels=(Panel(title="network", subtitle="", shapes=tuple(shapes.values()), arrows=tuple(arrows)),),
        keys=(_stride_keys(strides),),
        notes=("Arrows are features that a cell reads. A box has the colour of its outputs' stride, grey if several.",),
    )


def _cell_box(genotype: Genotype, cell: str, nodes: Sequence[Node]) -> Shape:
    """A cell in the overview."""
    edges = [edge for node in nodes for edge in node.edges]
    strides = {node.stride for node in nodes if _how_it_leaves(genotype, node)}
    opened = sum(edge.is_open for edge in edges)
    counts = f"{plural(len(nodes), 'feature')}, {plural(len(edges), 'edge')}" + (f", {opened} open" if opened else "")
    template = _template(genotype, cell)
    fill = stride_colour(*strides) if len(strides) == 1 else _PLAIN
    texts = [(cell, 9.0), (template, 7.0), (counts, 6.5)]
    return _shape(cell, texts, fill, outline=0.8, tooltip=f"{cell} ({template}): {counts}")
