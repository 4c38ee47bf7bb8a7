"""How features and edges look: boxes filled by stride, arrows coloured by operation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from genotypes import Genotype
from nas.visualize._colours import (
    OPEN,
    Stroke,
    darker,
    operation_label,
    operation_stroke,
    stride_colour,
    text_colour,
)
from nas.visualize._scene import Line, Link, Shape
from nas.visualize._words import Probabilities, edge_steps, edge_tooltip, likeliest

__all__ = ["View", "feature", "how_it_leaves", "link", "port"]

_GREY = "#555555"
_OUTLINES = {"output": 2.2, "read by other cells": 1.3, "": 0.5}


@dataclass(frozen=True, kw_only=True)
class View:
    """A genotype and how to look at it; see `draw`. compact: texts on more, shorter lines."""

    genotype: Genotype
    probabilities: Probabilities
    hide_none: bool = False
    compact: bool = False


def how_it_leaves(genotype: Genotype, node: str) -> str:
    """How a feature leaves its cell: as an "output" of the network, "read by other cells", or "" (it does not)."""
    if node in genotype.outputs:
        return "output"
    graph = genotype.graph
    cell = graph.nodes[node]["cell"]
    return "read by other cells" if any(graph.nodes[name]["cell"] != cell for name in graph.successors(node)) else ""


def feature(view: View, name: str) -> Shape:
    """A feature of the panel's own cell."""
    node = view.genotype.graph.nodes[name]
    fill = stride_colour(node["stride"])
    colour = text_colour(fill)
    details = [f"{node['width']} ch"]
    if node["combine"] == "concat":
        details.append("concat")
    if node["post"] != "none":
        details.append(node["post"].replace("_", " "))
    leaves = how_it_leaves(view.genotype, name)
    size = f"{node['size'].rule.replace('_', ' ')} {node['size'].of}"
    shape = f"stride {node['stride']}, {node['width']} channels, {node['combine']}, post {node['post']}"
    return Shape(
        key=name,
        lines=(
            Line(text=name.split(".", 1)[1], size=8.5, bold=True, colour=colour),
            *(Line(text=text, size=6.5, colour=colour) for text in _short_lines(details, view)),
        ),
        fill=fill,
        outline=_OUTLINES[leaves],
        tooltip=f"{name}: {shape}, size {size}" + (f"; {leaves}" if leaves else ""),
    )


def port(view: View, name: str, *, text: str = "") -> Shape:
    """A feature from outside the panel's cell; `text` in place of its name."""
    node = view.genotype.graph.nodes[name]
    fill = "#ffffff" if node["kind"] == "image" else stride_colour(node["stride"])
    colour = text_colour(fill)
    names = [text or name]
    if view.compact and not text:
        cell, dot, rest = name.partition(".")
        names = [cell + dot, rest] if dot else [name]
    return Shape(
        key=name,
        lines=(
            *(Line(text=part, size=8.0, colour=colour) for part in names),
            Line(text=f"{node['width']} ch", size=6.5, colour=colour),
        ),
        fill=fill,
        form="pill",
        outline=0.5,
        tooltip=f"{name}: stride {node['stride']}, {node['width']} channels",
    )


def link(view: View, edge: Mapping[str, Any], target: str) -> Link:
    """The arrow of an edge, with its label: what resamples before, the operation, what resamples after."""
    nodes = view.genotype.graph.nodes
    stride, goal = nodes[edge["source"]]["stride"], nodes[target]["stride"]
    before, after = edge_steps(edge, stride, goal)
    shares = view.probabilities.get(edge["id"], {})
    shown = likeliest(edge, view.probabilities)
    stroke, text = _stroke(edge, shown, shares), _label(edge, shown, shares)
    lines = [Line(text=step, size=6.5, colour=_GREY) for step in before]
    texts = _halves(text) if view.compact else [text]
    lines += [Line(text=part, size=7.5, colour=darker(stroke.colour)) for part in texts if part]
    lines += [Line(text=step, size=6.5, colour=_GREY) for step in after]
    return Link(
        key=edge["id"],
        source=edge["source"],
        target=target,
        stroke=stroke,
        lines=tuple(lines),
        tooltip=edge_tooltip(edge, target, stride, goal, shares),
    )


def _stroke(edge: Mapping[str, Any], shown: str | None, shares: Mapping[str, float]) -> Stroke:
    if shown is None:
        return OPEN
    stroke = operation_stroke(shown)
    if shares:
        share = shares.get(shown, 0.0)
        return replace(stroke, width=0.6 + 3.4 * share, alpha=0.35 + 0.65 * share)
    searched = edge["choice"] or not isinstance(edge["op"], str)
    return replace(stroke, width=1.6 * stroke.width) if searched else stroke


def _label(edge: Mapping[str, Any], shown: str | None, shares: Mapping[str, float]) -> str:
    if shown is None:
        return f"{len(edge['op'])} candidates"
    # A fixed edge that passes a feature on says nothing: its thin black line is enough.
    if shown == "skip_connect" and not edge["choice"] and not shares:
        return ""
    return operation_label(shown) + (f" {shares.get(shown, 0.0):.0%}" if shares else "")


def _short_lines(details: list[str], view: View) -> list[str]:
    return details if view.compact else [" · ".join(details)]


def _halves(text: str) -> list[str]:
    """The text in two lines, broken at the blank nearest to its middle."""
    blanks = [index for index, letter in enumerate(text) if letter == " "]
    if not blanks:
        return [text]
    cut = min(blanks, key=lambda index: abs(index - len(text) / 2))
    return [text[:cut], text[cut + 1 :]]
