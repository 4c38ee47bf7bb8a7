"""Where shapes and arrows of a panel go. Two engines with one result: Graphviz' dot, and our own layered layout."""

import shutil
from dataclasses import dataclass

from nas.visualize._scene import Panel

__all__ = ["Curve", "DotError", "Placed", "dot_is_there", "place"]

Point = tuple[float, float]


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
        from nas.visualize._layout_dot import place_with_dot

        return place_with_dot(panel, direction)
    from nas.visualize._layout_layered import place_in_layers

    return place_in_layers(panel, direction)


def _is_exchange(panel: Panel) -> bool:
    """Whether three or more shapes all feed the same three or more, as in CSNet's fusion.

    Every order of them crosses as often, so dot shuffles them; our own layout keeps them by stride.
    """
    targets: dict[str, set[str]] = {}
    for link in panel.links:
        targets.setdefault(link.source, set()).add(link.target)
    wide = [frozenset(found) for found in targets.values() if len(found) >= 3]
    return any(wide.count(found) >= 3 for found in set(wide))
