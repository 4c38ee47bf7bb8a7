"""Edges and nodes: what templates produce and a flat graph is made of. Plain immutable data."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

__all__ = ["Edge", "Feature", "Node", "Size"]


@dataclass(frozen=True)
class Feature:
    """What a template knows of an input: the name it is called by, its stride and its width (channels)."""

    name: str
    stride: int
    width: int


@dataclass(frozen=True)
class Size:
    """Height and width of a node on inputs of any size, said through another feature.

    rule: "like" (the same), "floor_half" or "ceil_half" (half of it; the papers differ in the rounding).
    RULES: rule -> this node's stride over that of `of`.
    """

    RULES: ClassVar[Mapping[str, int]] = MappingProxyType({"like": 1, "floor_half": 2, "ceil_half": 2})

    rule: str
    of: str


@dataclass(frozen=True, kw_only=True)
class Edge:
    """source --[pre; op; post]--> the node that holds the edge.

    op: an operation (decided) or a tuple of candidates (open).
    pre, post: resampling steps before and after the operation; order matters, so it is written down.
    width: channels the edge delivers; None stands for the node's width (sum) or the source's (concat).
    choice: whether a cell's `candidates` open this edge. `op` is then the default, or "" where there is none.
    """

    name: str
    source: str
    op: str | tuple[str, ...] = "skip_connect"
    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    width: int | None = None
    choice: bool = False

    @property
    def is_open(self) -> bool:
        return isinstance(self.op, tuple)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A feature map: how wide, at which stride and size, and how its incoming edges are combined.

    combine: "sum" or "concat" (in the order of the edges); post: a word of `vocabulary.POSTS`.
    size: None stands for "like the first source that has this stride".
    """

    name: str
    stride: int
    width: int
    edges: tuple[Edge, ...] = ()
    combine: str = "sum"
    post: str = "none"
    size: Size | None = None
