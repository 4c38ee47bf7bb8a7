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
    """Lay a panel out; engine "graphviz" or "matplotlib", direction "LR" (left to right) or "TB" (top to bottom).

    Raises DotError where dot fails.
    """
    if engine == "graphviz":
        from nas.visualize._layout_dot import place_with_dot

        return place_with_dot(panel, direction)
    from nas.visualize._layout_layered import place_in_layers

    return place_in_layers(panel, direction)
