"""The registry of templates, and the check of a cell's parameters against a template's signature."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from genotypes._checks import show
from genotypes.elements import Feature, Node
from genotypes.errors import GenotypeError

__all__ = ["TEMPLATES", "build_template", "register_template"]

Template = Callable[..., list[Node]]
TEMPLATES: dict[str, Template] = {}


def register_template(function: Template) -> Template:
    """Make a function a template, under its own name; ValueError if the name is taken."""
    name = function.__name__
    if name in TEMPLATES:
        raise ValueError(f"template {name!r} is already registered")
    TEMPLATES[name] = function
    return function


def build_template(name: Any, inputs: Mapping[str, Feature], params: Mapping[str, Any]) -> list[Node]:
    """The nodes template `name` makes; GenotypeError for an unknown template or parameter."""
    if not isinstance(name, str) or name not in TEMPLATES:
        raise GenotypeError(f"unknown template {show(name)}; known: {', '.join(sorted(TEMPLATES))}", ("template",))
    signature = inspect.signature(TEMPLATES[name])
    known = {key: value for key, value in signature.parameters.items() if value.kind is value.KEYWORD_ONLY}
    for key, value in params.items():
        if key not in known:
            raise GenotypeError(f"unknown key {show(key)}; template {name} has: {', '.join(known) or 'none'}", (key,))
        if not _fits(value, known[key].annotation):
            raise GenotypeError(f"expected {_describe(known[key].annotation)}, not {show(value)}", (key,))
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in params:
            raise GenotypeError(f"template {name} needs the key {key!r}")
    if not inputs:
        raise GenotypeError("a cell needs at least one input", ("inputs",))
    return TEMPLATES[name](dict(inputs), **params)


def _fits(value: Any, annotation: Any) -> bool:
    """Whether plain data fits an annotation made of int, str, bool, None, Any, tuple[...], dict[...] and unions."""
    if annotation in (Any, inspect.Parameter.empty):
        return True
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is tuple:
        variable = len(arguments) == 2 and arguments[1] is Ellipsis
        kinds = [arguments[0]] * len(value) if variable and isinstance(value, tuple) else arguments
        good = isinstance(value, tuple) and len(value) == len(kinds)
        return good and all(_fits(item, kind) for item, kind in zip(value, kinds, strict=True))
    if origin is dict:
        good = isinstance(value, Mapping) and all(_fits(key, arguments[0]) for key in value)
        return good and all(_fits(item, arguments[1]) for item in value.values())
    if annotation in (None, types.NoneType):
        return value is None
    return type(value) is annotation or (annotation is float and type(value) is int)


def _describe(annotation: Any) -> str:
    """The annotation in words: tuple[int, ...] -> "a list, each an integer"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_describe, arguments))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return "a list" if arguments[0] is Any else f"a list, each {_describe(arguments[0])}"
    if origin is tuple:
        return f"a list of {', '.join(map(_describe, arguments))}"
    if origin is dict:
        return f"a mapping, each value {_describe(arguments[1])}"
    words = {int: "an integer", str: "a name", bool: "true or false", float: "a number", types.NoneType: "null"}
    return words.get(annotation, str(annotation))
