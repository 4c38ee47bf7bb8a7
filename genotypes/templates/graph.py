"""`graph`: a cell written out literally, so that nobody needs Python to invent one.

nodes:
- {name: a, stride: 8, width: 32, edges: [{name: in_a, source: s8, op: conv2d_1x1}], post: bn_relu}
- name: b
  stride: 4
  width: 32
  size: {like: s4}
  edges: [{name: up, source: a, op: skip_connect, post: [bilinear]}]
"""

from collections.abc import Mapping
from typing import Any

from genotypes._checks import at, check_keys, show
from genotypes.elements import Edge, Feature, Node, Size
from genotypes.errors import GenotypeError
from genotypes.templates._registry import register_template

__all__ = ["graph"]


@register_template
def graph(inputs: Mapping[str, Feature], *, nodes: tuple[Any, ...]) -> list[Node]:
    """The nodes exactly as written."""
    return [at(("nodes", index), _node, data) for index, data in enumerate(nodes)]


def _node(data: Any) -> Node:
    check_keys(data, ("name", "stride", "width", "edges"), ("combine", "post", "size"))
    if not isinstance(data["name"], str) or not data["name"].isidentifier():
        raise GenotypeError(f"a node's name must be an identifier, not {show(data['name'])}", ("name",))
    if not isinstance(data["edges"], tuple):
        raise GenotypeError(f"expected a list of edges, not {show(data['edges'])}", ("edges",))
    edges = tuple(at(("edges", index), _edge, edge) for index, edge in enumerate(data["edges"]))
    size = at(("size",), _size, data["size"]) if "size" in data else None
    return Node(**{**data, "edges": edges, "size": size})


def _edge(data: Any) -> Edge:
    check_keys(data, ("name", "source", "op"), ("pre", "post", "width"))
    for key in ("pre", "post"):
        if not isinstance(data.get(key, ()), tuple):
            raise GenotypeError(f"expected a list of resampling steps, not {show(data[key])}", (key,))
    for key in ("name", "source"):
        if not isinstance(data[key], str) or not data[key].isidentifier():
            raise GenotypeError(f"expected a name, not {show(data[key])}", (key,))
    return Edge(**data)


def _size(data: Any) -> Size:
    check_keys(data, optional=tuple(Size.RULES))
    if len(data) != 1:
        raise GenotypeError(f"expected one of {', '.join(Size.RULES)}, not {show(data)}")
    ((rule, of),) = data.items()
    if not isinstance(of, str):
        raise GenotypeError(f"expected the name of a feature, not {show(of)}", (rule,))
    return Size(rule, of)
