"""Cell templates: functions from inputs and parameters to nodes; and the check of a cell against its template.

A template is a pure function `f(inputs, *, parameters...) -> list[Node]`; `inputs` maps each input's name inside
the cell to a `Feature` (name, stride, width). Its keyword parameters, with their annotations, are the keys a cell
of that template may have in a genotype file. The records are in `genotypes.vocabulary`.
"""

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from genotypes._checks import at, show
from genotypes.errors import GenotypeError
from genotypes.graph import Node
from genotypes.vocabulary import TEMPLATES, Feature

__all__ = ["build_template"]


def build_template(name: Any, inputs: Mapping[str, Feature], params: Mapping[str, Any]) -> list[Node]:
    """The nodes template `name` makes; GenotypeError for an unknown template or parameter."""
    template = at(("template",), TEMPLATES.__getitem__, name).load()
    signature = inspect.signature(template)
    known = {key: value for key, value in signature.parameters.items() if value.kind is value.KEYWORD_ONLY}
    for key, value in params.items():
        if key not in known:
            raise GenotypeError(f"unknown key {show(key)}; template {name} has: {', '.join(known) or 'none'}", (key,))
        annotation = known[key].annotation
        if isinstance(annotation, str):  # by `from __future__`; that of `inputs` may be for type checkers alone
            annotation = eval(annotation, inspect.unwrap(template).__globals__)
        if not at((key,), _fits, value, annotation):
            raise GenotypeError(f"expected {_describe(annotation)}, not {show(value)}", (key,))
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in params:
            raise GenotypeError(f"template {name} needs the key {key!r}")
    if not inputs:
        raise GenotypeError("a cell needs at least one input", ("inputs",))
    nodes = list(template(dict(inputs), **params))
    for made in (name for node in nodes for name in (node.name, *(edge.name for edge in node.edges))):
        if not isinstance(made, str) or not made.isidentifier():  # it becomes a part of references and of keys
            raise GenotypeError(f"template {name} names a node or an edge {show(made)}; expected an identifier")
    return nodes


def _fits(value: Any, annotation: Any) -> bool:
    """Whether plain data fits an annotation; GenotypeError for one that nothing in a file fits.

    Lists come as tuples and mappings are read-only, so Sequence and Mapping say the same as tuple and dict.
    """
    if annotation in (Any, inspect.Parameter.empty):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin in (tuple, Sequence):
        variable = origin is not tuple or (len(arguments) == 2 and arguments[1] is Ellipsis)
        kinds = [arguments[0]] * len(value) if variable and isinstance(value, tuple) else arguments
        good = isinstance(value, tuple) and len(value) == len(kinds)
        return good and all(_fits(item, kind) for item, kind in zip(value, kinds, strict=True))
    if origin in (dict, Mapping):
        good = isinstance(value, Mapping) and all(_fits(key, arguments[0]) for key in value)
        return good and all(_fits(item, arguments[1]) for item in value.values())
    if annotation in (None, types.NoneType):
        return value is None
    if annotation not in (int, float, str, bool, tuple):
        shown = getattr(annotation, "__name__", annotation)
        raise GenotypeError(
            f"its template annotates this as {shown}, which nothing in a file fits; expected int, float, str, bool, "
            "None, Any, Literal, tuple or Sequence, dict[...] or Mapping[...], or a union of these"
        )
    return type(value) is annotation or (annotation is float and type(value) is int)


def _describe(annotation: Any) -> str:
    """The annotation in words: tuple[int, ...] -> "a list, each an integer"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_describe, arguments))
    if origin is Sequence or (origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis):
        return "a list" if arguments[0] is Any else f"a list, each {_describe(arguments[0])}"
    if origin is tuple:
        return f"a list of {', '.join(map(_describe, arguments))}"
    if origin in (dict, Mapping):
        return f"a mapping, each value {_describe(arguments[1])}"
    words = {int: "an integer", str: "a name", bool: "true or false", float: "a number", tuple: "a list"}
    words |= {types.NoneType: "null"}
    return words.get(annotation, str(annotation))
