"""Where shapes and arrows of a panel go: by Graphviz' dot, or by a layered layout of our own where it is missing.

Into dot go sizes and out come coordinates: fonts and names never pass through it. Ours is after Sugiyama, Tagawa and
Toda (1981): layers come from topological depth; an edge passes one slot in every layer it crosses, and its label is a
slot of its own in between, so labels and parallel edges never lie on each other; orders come from barycentre sweeps,
coordinates from least squares with minimum distances.
"""

import itertools
import json
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any

import graphviz
import networkx

from nas.visualize.scene import Arrow, Panel, block_size

__all__ = ["Curve", "DotError", "Placed", "dot_is_there", "place"]

Point = tuple[float, float]
_Docks = dict[str, float]

_SWEEPS = 12
_ARROW = 6.0
_THIN = 5.0  # across: what an arrow takes; a label takes more
_ENDS = {False: (0,), True: (-1, 1)}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Cubic Bezier pieces (1 + 3n points), the arrow's tip, and the centre of the label (None without label)."""

    points: tuple[Point, ...]
    tip: Point
    label: Point | None = None


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A panel laid out: its size and centres of shapes in points, y downwards from the top left corner."""

    panel: Panel
    width: float
    height: float
    shapes: dict[str, Point]
    curves: dict[str, Curve]


class DotError(Exception):
    """Graphviz' dot is there, but does not do its work."""


def dot_is_there() -> bool:
    """Whether Graphviz' `dot` is on the PATH."""
    return shutil.which("dot") is not None


def place(panel: Panel, engine: str, direction: str) -> Placed:
    """Lay a panel out; direction "LR" (left to right) or "TB" (top to bottom).

    engine: "graphviz" (dot), "matplotlib" (our own layout), or "auto": dot but where it reads worse. Raises DotError
    where dot fails.
    """
    if engine == "graphviz" or (engine == "auto" and not _is_exchange(panel)):
        return _place_with_dot(panel, direction)
    return _place_in_layers(panel, direction)


def _is_exchange(panel: Panel) -> bool:
    """Whether three or more shapes all feed the same three or more, as in CSNet's fusion.

    Every order of them crosses as often, so dot shuffles them; our own layout keeps them by stride.
    """
    targets: dict[str, set[str]] = {}
    for arrow in panel.arrows:
        targets.setdefault(arrow.source, set()).add(arrow.target)
    wide = [frozenset(found) for found in targets.values() if len(found) >= 3]
    return any(wide.count(found) >= 3 for found in set(wide))


def _place_with_dot(panel: Panel, direction: str) -> Placed:
    """Raises DotError where dot is missing, fails, or answers what we do not understand."""
    try:
        return _read_dot(panel, json.loads(_dot_graph(panel, direction).pipe(format="json0", quiet=True)))
    except (graphviz.ExecutableNotFound, subprocess.CalledProcessError, OSError) as error:
        raise DotError(str(error).strip()) from error
    except (ValueError, KeyError) as error:
        raise DotError(f"its answer is not the JSON of a layout: {error}") from error


def _dot_graph(panel: Panel, direction: str) -> graphviz.Digraph:
    graph = graphviz.Digraph()
    # dot halves the distance of ranks where edges have labels, to make ranks for them; dense graphs need more.
    labelled = sum(bool(arrow.lines) for arrow in panel.arrows)
    ranksep = f"{0.22 * max(1.0, labelled / len(panel.shapes) / 1.4):.3f}" if labelled else "0.4"
    graph.attr(rankdir=direction, nodesep="0.13", ranksep=ranksep, margin="0", splines="true", outputorder="nodesfirst")
    graph.attr("node", shape="box", fixedsize="true", label="")
    graph.attr("edge", arrowsize="0.6", label="")
    names = _dot_names(panel)
    for shape in panel.shapes:
        width, height = shape.size
        graph.node(names[shape.key], width=f"{width / 72:.4f}", height=f"{height / 72:.4f}")
    for index, arrow in enumerate(panel.arrows):
        attributes = {"id": str(index), "penwidth": f"{arrow.stroke.width:.2f}"}
        if arrow.lines:
            width, height = block_size(arrow.lines)
            size = f'WIDTH="{round(width + 6)}" HEIGHT="{round(height + 5)}"'
            table = f'<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0" FIXEDSIZE="TRUE" {size}>'
            attributes["label"] = f"<{table}<TR><TD></TD></TR></TABLE>>"
        graph.edge(names[arrow.source], names[arrow.target], **attributes)
    return graph


def _dot_names(panel: Panel) -> dict[str, str]:
    return {shape.key: f"n{index}" for index, shape in enumerate(panel.shapes)}


def _read_dot(panel: Panel, data: dict[str, Any]) -> Placed:
    left, low, right, high = map(float, data["bb"].split(","))

    def point(text: str) -> Point:
        x, y = map(float, text.split(","))
        return x - left, high - y

    placed = {item["name"]: point(item["pos"]) for item in data.get("objects", ()) if "pos" in item}
    curves = {}
    for item in data.get("edges", ()):
        start, *rest = item["pos"].split(" ")
        curves[panel.arrows[int(item["id"])].key] = Curve(
            points=tuple(point(text) for text in rest),
            tip=point(start.removeprefix("e,")),
            label=point(item["lp"]) if "lp" in item else None,
        )
    return Placed(
        panel=panel,
        width=right - left,
        height=high - low,
        shapes={key: placed[name] for key, name in _dot_names(panel).items()},
        curves=curves,
    )


@dataclass(eq=False)
class _Slot:
    """A place in a layer: `across` is its extent within the layer, `along` from layer to layer."""

    layer: int
    across: float
    along: float
    before: list["_Slot"] = field(default_factory=list)
    after: list["_Slot"] = field(default_factory=list)
    centre: float = 0.0
    is_shape: bool = False


def _place_in_layers(panel: Panel, direction: str) -> Placed:
    """The layout; deterministic, and without any program besides Python."""
    flip = direction == "TB"
    shapes = {}
    depth = _depths(panel)
    for shape in panel.shapes:
        width, height = shape.size
        across, along = (width, height) if flip else (height, width)
        shapes[shape.key] = _Slot(2 * depth[shape.key], across, along, is_shape=True)
    paths = {arrow.key: _path(arrow, shapes[arrow.source], shapes[arrow.target], flip) for arrow in panel.arrows}
    slots = list(dict.fromkeys([*shapes.values(), *(slot for path in paths.values() for slot in path)]))
    layers = [[slot for slot in slots if slot.layer == index] for index in range(max(s.layer for s in slots) + 1)]
    layers = _order(layers)
    _spread(layers)
    starts, total = _along(layers)
    shift = -min(slot.centre - slot.across / 2 for slot in slots)
    extent = shift + max(slot.centre + slot.across / 2 for slot in slots)

    def point(along: float, across: float) -> Point:
        return (across + shift, along) if flip else (along, across + shift)

    def middle(slot: _Slot) -> float:
        return starts[slot.layer] + max(s.along for s in layers[slot.layer]) / 2

    leave, arrive = _docks(panel, paths, shapes)
    curves = {}
    for arrow in panel.arrows:
        source, target = shapes[arrow.source], shapes[arrow.target]
        stops = [(middle(source) + source.along / 2, source.centre + leave[arrow.key])]
        # Straight through a label: arrive and leave at its ends.
        stops += [(middle(s) + side * s.along / 2, s.centre) for s in paths[arrow.key] for side in _ENDS[s.along > 0]]
        end = (middle(target) - target.along / 2, target.centre + arrive[arrow.key])
        stops.append((end[0] - _ARROW, end[1]))
        label = next((s for s in paths[arrow.key] if s.across > _THIN), None) if arrow.lines else None
        curves[arrow.key] = Curve(
            points=tuple(point(*stop) for stop in _smooth(stops)),
            tip=point(*end),
            label=None if label is None else point(middle(label), label.centre),
        )
    width, height = (extent, total) if flip else (total, extent)
    places = {key: point(middle(slot), slot.centre) for key, slot in shapes.items()}
    return Placed(panel=panel, width=width, height=height, shapes=places, curves=curves)


def _depths(panel: Panel) -> dict[str, int]:
    graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph()
    graph.add_nodes_from(shape.key for shape in panel.shapes)
    graph.add_edges_from((arrow.source, arrow.target) for arrow in panel.arrows)
    generations = list(networkx.topological_generations(graph))
    depth = {key: index for index, keys in enumerate(generations) for key in keys}
    # What feeds more edges than it reads moves towards its readers: shorter edges, as in dot.
    for keys in reversed(generations):
        for key in keys:
            if graph.out_degree(key) > graph.in_degree(key):
                depth[key] = min(depth[reader] for reader in graph.successors(key)) - 1
    return depth


def _path(arrow: Arrow, source: _Slot, target: _Slot, flip: bool) -> list[_Slot]:
    path = [_Slot(layer, _THIN, 0.0) for layer in range(source.layer + 1, target.layer)]
    if arrow.lines:
        width, height = block_size(arrow.lines)
        # Odd layers hold no shapes; the label sits in the one nearest to the middle.
        label = path[len(path) // 2 if len(path) // 2 % 2 == 0 else len(path) // 2 - 1]
        label.across, label.along = (width + 8, height + 4) if flip else (height + 4, width + 8)
    for left, right in zip([source, *path], [*path, target], strict=True):
        left.after.append(right)
        right.before.append(left)
    return path


def _order(layers: list[list[_Slot]]) -> list[list[_Slot]]:
    """Sweeps down and up sort each layer by its slots' mean place in the layer before; the fewest crossings win."""
    best, fewest = layers, _crossings(layers)
    current = list(layers)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for index in range(1, len(layers)) if down else reversed(range(len(layers) - 1)):
            rank = {slot: place for place, slot in enumerate(current[index - 1 if down else index + 1])}
            keys = {}
            for place, slot in enumerate(current[index]):
                near = slot.before if down else slot.after
                keys[slot] = sum(rank[other] for other in near) / len(near) if near else float(place)
            current[index] = sorted(current[index], key=keys.__getitem__)
        crossings = _crossings(current)
        if crossings < fewest:
            best, fewest = list(current), crossings
    return best


def _crossings(layers: list[list[_Slot]]) -> int:
    count = 0
    for upper, lower in itertools.pairwise(layers):
        rank = {slot: place for place, slot in enumerate(lower)}
        ends = [place for slot in upper for place in sorted(rank[other] for other in slot.after)]
        count += sum(a > b for index, a in enumerate(ends) for b in ends[index + 1 :])
    return count


def _spread(layers: list[list[_Slot]]) -> None:
    """Centres within each layer: near the neighbours' mean, in order, without overlap."""
    for layer in layers:
        _settle(layer, [0.0] * len(layer))
    for sweep in range(4 * _SWEEPS):
        before = [slot.centre for layer in layers for slot in layer]
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wishes = []
            for slot in layer:
                near = slot.before + slot.after
                # Straight pieces first: between two slots of one edge the pull is strong.
                pulls = [(1.0 if other.is_shape or slot.is_shape else 4.0, other.centre) for other in near]
                wishes.append(sum(w * c for w, c in pulls) / sum(w for w, _ in pulls) if pulls else slot.centre)
            _settle(layer, wishes)
        after = (slot.centre for layer in layers for slot in layer)
        if max(abs(a - b) for a, b in zip(after, before, strict=True)) < 0.3:
            break


def _settle(layer: list[_Slot], wishes: list[float]) -> None:
    """The least-squares centres with minimum distances: pool adjacent violators."""
    offsets, offset = [], 0.0
    for index, slot in enumerate(layer):
        if index:
            gap = 10.0 if slot.is_shape and layer[index - 1].is_shape else 5.0
            offset += (layer[index - 1].across + slot.across) / 2 + gap
        offsets.append(offset)
    pools: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=True):
        pools.append((wish - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    bases = [value for value, count in pools for _ in range(count)]
    for slot, base, offset in zip(layer, bases, offsets, strict=True):
        slot.centre = base + offset


def _along(layers: list[list[_Slot]]) -> tuple[list[float], float]:
    starts, position = [], 0.0
    for index, layer in enumerate(layers):
        starts.append(position)
        position += max(slot.along for slot in layer)
        if index + 1 < len(layers):
            # Room to turn: the further arrows move across, the longer the way.
            moves = [abs(slot.centre - other.centre) for slot in layer for other in slot.after]
            position += min(60.0, 9.0 + 0.12 * max(moves, default=0.0))
    return starts, position


def _docks(panel: Panel, paths: dict[str, list[_Slot]], shapes: dict[str, _Slot]) -> tuple[_Docks, _Docks]:
    """Where along a shape's side each arrow leaves and arrives: side by side, in the order of where it goes."""
    leave: _Docks = {}
    arrive: _Docks = {}
    for shape in panel.shapes:
        slot = shapes[shape.key]
        out = [arrow for arrow in panel.arrows if arrow.source == shape.key]
        into = [arrow for arrow in panel.arrows if arrow.target == shape.key]
        ends = {arrow.key: (paths[arrow.key] or [shapes[arrow.target]])[0].centre for arrow in out}
        begins = {arrow.key: (paths[arrow.key] or [shapes[arrow.source]])[-1].centre for arrow in into}
        for docks, arrows in ((leave, ends), (arrive, begins)):
            step = min(7.0, slot.across * 0.8 / max(1, len(arrows)))
            for index, key in enumerate(sorted(arrows, key=arrows.__getitem__)):
                docks[key] = (index - (len(arrows) - 1) / 2) * step
    return leave, arrive


def _smooth(stops: list[Point]) -> list[Point]:
    points = [stops[0]]
    for (a0, c0), (a1, c1) in itertools.pairwise(stops):
        half = (a1 - a0) / 2
        points += [(a0 + half, c0), (a1 - half, c1), (a1, c1)]
    return points
