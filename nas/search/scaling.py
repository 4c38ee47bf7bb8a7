"""Uniform scaling, the rival that a search over whole networks must beat.

The whole backbone and a plain mix of operations, with input size and cell widths scaled together.
"""

from typing import Any

from genotypes import OPERATIONS, Genotype
from nas.network import extreme
from nas.network.member import by_parameters

__all__ = ["scaled_line"]

_WHOLE = ("backbone", "input")  # whose choices are not widths of cells
_LEVELS = 8  # widths on the line, at most


def scaled_line(space: Genotype, points: int | None = None) -> list[dict[str, Any]]:
    """The choices of uniform scaling, from the smallest to the largest: cell widths and input size grow together.

    Everything else is at its largest, but an edge's operation: there it is the middle one by its parameters. No width
    is 0, which leaves a part out. points: at most so many, evenly spaced; by default one for each pair of a size and a
    width, of eight widths at most.
    """
    choices = space.choices()
    fixed = extreme(space, "largest") | _middle_operations(space)
    widths = [
        choice for choice in choices if choice not in space.graph.edges and choice.partition(".")[0] not in _WHOLE
    ]
    widths = [choice for choice in widths if not isinstance(choices[choice][0], str)]
    sizes: list[Any] = sorted(choices.get("input.size", ())) or [None]
    ladders = {choice: sorted(width for width in choices[choice] if width) for choice in widths}
    most = min(_LEVELS, max((len(ladder) for ladder in ladders.values()), default=1))
    line = []
    for size in sizes:
        for level in range(most):
            point = dict(fixed)
            for choice, ladder in ladders.items():
                point[choice] = ladder[round(level * (len(ladder) - 1) / max(1, most - 1))]
            if size is not None:
                point["input.size"] = size
            line.append(point)
    if points is not None and points < len(line):
        line = [line[round(index * (len(line) - 1) / max(1, points - 1))] for index in range(points)]
    return line


def _middle_operations(space: Genotype) -> dict[str, Any]:
    """A plain mix: on every edge the candidate in the middle by its parameters, of those that carry anything."""
    chosen = {}
    for edge, candidates in space.open_edges().items():
        carrying = [op for op in by_parameters(space, edge, candidates) if not OPERATIONS[op].zero]
        chosen[edge] = carrying[len(carrying) // 2]
    return chosen
