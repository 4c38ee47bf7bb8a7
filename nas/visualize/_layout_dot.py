"""Layout by Graphviz' dot. Only sizes go in and coordinates come out: fonts and names never pass through dot."""

import json
import subprocess
from typing import Any

import graphviz

from nas.visualize._layout import Curve, DotError, Placed, Point
from nas.visualize._scene import Panel, block_size

__all__ = ["place_with_dot"]


def place_with_dot(panel: Panel, direction: str) -> Placed:
    """Raises DotError where dot is missing, fails, or answers what we do not understand."""
    try:
        return _read(panel, json.loads(_graph(panel, direction).pipe(format="json0", quiet=True)))
    except (graphviz.ExecutableNotFound, subprocess.CalledProcessError, OSError) as error:
        raise DotError(str(error).strip()) from error
    except (ValueError, KeyError) as error:
        raise DotError(f"its answer is not the JSON of a layout: {error}") from error


def _graph(panel: Panel, direction: str) -> graphviz.Digraph:
    graph = graphviz.Digraph()
    # dot halves the distance of ranks where edges have labels, to make ranks for them; dense graphs need more.
    labelled = sum(bool(link.lines) for link in panel.links)
    ranksep = f"{0.22 * max(1.0, labelled / len(panel.shapes) / 1.4):.3f}" if labelled else "0.4"
    graph.attr(rankdir=direction, nodesep="0.13", ranksep=ranksep, margin="0", splines="true", outputorder="nodesfirst")
    graph.attr("node", shape="box", fixedsize="true", label="")
    graph.attr("edge", arrowsize="0.6", label="")
    names = _names(panel)
    for shape in panel.shapes:
        width, height = shape.size
        graph.node(names[shape.key], width=f"{width / 72:.4f}", height=f"{height / 72:.4f}")
    for index, link in enumerate(panel.links):
        attributes = {"id": str(index), "penwidth": f"{link.stroke.width:.2f}"}
        if link.lines:
            width, height = block_size(link.lines)
            size = f'WIDTH="{round(width + 6)}" HEIGHT="{round(height + 5)}"'
            table = f'<TABLE BORDER="0" CELLSPACING="0" CELLPADDING="0" FIXEDSIZE="TRUE" {size}>'
            attributes["label"] = f"<{table}<TR><TD></TD></TR></TABLE>>"
        graph.edge(names[link.source], names[link.target], **attributes)
    return graph


def _names(panel: Panel) -> dict[str, str]:
    return {shape.key: f"n{index}" for index, shape in enumerate(panel.shapes)}


def _read(panel: Panel, data: dict[str, Any]) -> Placed:
    left, low, right, high = map(float, data["bb"].split(","))

    def point(text: str) -> Point:
        x, y = map(float, text.split(","))
        return x - left, high - y

    placed = {item["name"]: point(item["pos"]) for item in data.get("objects", ()) if "pos" in item}
    curves = {}
    for item in data.get("edges", ()):
        start, *rest = item["pos"].split(" ")
        curves[panel.links[int(item["id"])].key] = Curve(
            points=tuple(point(text) for text in rest),
            tip=point(start.removeprefix("e,")),
            label=point(item["lp"]) if "lp" in item else None,
        )
    return Placed(
        panel=panel,
        width=right - left,
        height=high - low,
        shapes={key: placed[name] for key, name in _names(panel).items()},
        curves=curves,
    )
