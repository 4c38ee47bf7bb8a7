"""The space of the table and its members, in the table's order."""

import itertools
from functools import cache
from pathlib import Path

import genotypes
from genotypes import Genotype

__all__ = ["members", "space"]


@cache
def space() -> Genotype:
    """The open genotype of `space.yaml`."""
    return genotypes.load(str(Path(__file__).with_name("space.yaml")))


def members(space: Genotype) -> list[dict[str, str]]:
    """The choices of every network of a space; the last open edge changes fastest.

    >>> len(members(space()))
    243
    """
    edges = space.open_edges()
    return [dict(zip(edges, ops, strict=True)) for ops in itertools.product(*edges.values())]
