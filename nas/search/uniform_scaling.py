"""Uniform scaling, the rival that a search over whole networks must beat.

The whole backbone and a plain mix of operations, with input size and cell widths scaled together.
"""

from typing import Any

from genotypes import Genotype
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
    by_size = {edge: by_parameters(space, edge) for edge in space.open_edges()}
    fixed = extreme(space, "largest") | {edge: found[len(found) // 2] for edge, found in by_size.items()}
    numbers = [choice for choice, candidates in choices.items() if not isinstance(candidates[0], str)]
    widths = [choice for choice in numbers if choice.partition(".")[0] not in _WHOLE]
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
