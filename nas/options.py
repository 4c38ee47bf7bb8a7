"""Configurations: frozen dataclasses, and the plain values (YAML) that they are read from and written as.

A configuration is a tree. A field is an option (`size`), a group of options (`optim`), or an *owner*: something chosen
by name that brings options of its own (`strategy`, `space`, `recipe`; see `owner`).

Files are data: they are read as plain YAML, and name strategies, spaces and recipes, never modules.
"""

import ast
import difflib
import inspect
import math
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import docstring_parser
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from genotypes import UserError
from genotypes.yaml_io import parse_yaml, read_text

__all__ = [
    "Option",
    "changed_of",
    "difference",
    "from_dict",
    "from_file",
    "help_texts",
    "merged_sources",
    "name_of",
    "near",
    "options_of",
    "owner",
    "owner_of",
    "plain",
    "read_file",
    "split_owner",
    "to_dict",
    "to_yaml",
    "type_text",
    "unused_of",
]

_LARGEST = 1e36  # of a number: multiplied by ten or a hundred it must stay one of 32 bits

Config = TypeVar("Config")
Values = dict[str, Any]


def owner(make: Callable[[str], Any], known: Callable[[], Iterable[str]], default: str, metavar: str = "NAME") -> Any:
    """A field that holds the configuration of something chosen by name, with options of its own.

    make: name -> its configuration with the default options, a frozen dataclass; UserError for an unknown name. Where
    the class says its name (`name`), files keep it. known: the names there are.
    """
    return field(default_factory=lambda: make(default), metadata={"owner": _Owner(make, known, metavar)})


@dataclass(frozen=True)
class _Owner:
    make: Callable[[str], Any]
    known: Callable[[], Iterable[str]]
    metavar: str


def owner_of(f: "Field[Any]") -> _Owner | None:
    return cast("_Owner | None", f.metadata.get("owner"))


def name_of(config: object) -> str | None:
    """The name of an owner, where its class has one."""
    return getattr(config, "name", None)


@dataclass(frozen=True)
class Option:
    """name: dotted; type: of its value; help: its line under `Attributes`; owner: where the value is a name."""

    name: str
    type: Any
    default: Any
    help: str
    owner: _Owner | None = None


def options_of(config: Any, prefix: str = "") -> dict[str, Option]:
    """All options of a configuration, by dotted name; their defaults are its values."""
    found: dict[str, Option] = {}
    texts, types = help_texts(type(config)), get_type_hints(type(config))
    for f in fields(config):
        name, value, text = prefix + f.name, getattr(config, f.name), texts.get(f.name, "")
        if chosen := owner_of(f):
            found[name] = Option(name, str, name_of(value), text, chosen)
        if is_dataclass(value):
            found |= options_of(value, f"{name}.")
            if chosen:
                found.pop(f"{name}.name", None)  # what the owner's own option says
        else:
            found[name] = Option(name, types[f.name], value, text)
    return found


def unused_of(config: Any, prefix: str = "") -> dict[str, str]:
    """Option or group -> why it has no effect beside the others, as `unused()` of each part of a configuration says.

    A part is a class with such a method; it names its own options, with dots those of the groups in it.
    """
    found: dict[str, str] = {}
    for f in fields(config):
        if is_dataclass(value := getattr(config, f.name)):
            found |= unused_of(value, f"{prefix}{f.name}.")
    own: dict[str, str] = config.unused() if hasattr(type(config), "unused") else {}
    return found | {prefix + name: why for name, why in own.items()}


def help_texts(config_class: type) -> dict[str, str]:
    """Field -> its help: the line under `Attributes` of the class or one that it derives from."""
    texts: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        params = docstring_parser.parse(_docstring(base)).params if is_dataclass(base) else []
        texts |= {param.arg_name: " ".join((param.description or "").split()) for param in params}
    return texts


def _docstring(config_class: type) -> str:
    """A class's own. `python -OO` leaves it out, and a dataclass has its signature there: so from the source."""
    if sys.flags.optimize < 2:
        return config_class.__doc__ or ""
    try:
        (found,) = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body
    except (OSError, TypeError, SyntaxError):  # a class without a file
        return ""
    return (ast.get_docstring(found) if isinstance(found, ast.ClassDef) else None) or ""


def to_dict(config: Any) -> Values:
    """A configuration as plain values, each owner with its name: what `from_dict` reads."""
    name = name_of(config)
    values: Values = {} if name is None else {"name": name}
    return values | {f.name: plain(getattr(config, f.name)) for f in fields(config)}


def changed_of(config: Any, usual: Any = None) -> Values:
    """What of a configuration is not at its default, as plain values: enough for `from_dict` to make it.

    Names and hashes are made of this: a version with a further option says the same of all that came before it.
    usual: the default, where it is not its class's.
    """
    name = name_of(config)
    values: Values = {} if name is None else {"name": name}
    for f in fields(config):
        value, default = getattr(config, f.name), _default(f) if usual is None else getattr(usual, f.name)
        if value != default:
            like = default if type(default) is type(value) else None
            values[f.name] = changed_of(value, like) if is_dataclass(value) else plain(value, changed_of)
    return values


def to_yaml(config: Any) -> str:
    """A configuration as the YAML file that `--config` reads; options without a value are left out.

    UserError for what could not be read again, such as a folder's name that is no Unicode: no run could be resumed.
    """
    text: str = yaml.safe_dump(_without_none(to_dict(config)), sort_keys=False, allow_unicode=True)
    try:
        parse_yaml(text)
    except UserError as error:
        wrong = next((line for line in text.splitlines() if _UNREADABLE.search(line)), str(error))
        raise UserError(f"{wrong}: expected text in Unicode; rename what is called so") from None
    return text


_UNREADABLE = re.compile(r"\\uD[89A-F]|\\0")  # as YAML spells what `parse_yaml` refuses


def _default(f: "Field[Any]") -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default


def plain(value: Any, convert: Callable[[Any], Values] = to_dict) -> Any:
    """A value as plain ones; convert: what becomes of the configurations in it."""
    if is_dataclass(value):
        return convert(value)
    if isinstance(value, Mapping):
        return {key: plain(item, convert) for key, item in value.items()}
    return [plain(item, convert) for item in value] if isinstance(value, tuple | list) else value


def difference(old: Any, new: Any, name: str = "", *, common: bool = False) -> tuple[str, Any, Any] | None:
    """The first place where two plain values differ: its dotted name, and both. A key that is missing has None.

    common: look only at keys that both have.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if not common or (key in old and key in new)]
        inner = (difference(old.get(k), new.get(k), f"{name}.{k}" if name else k, common=common) for k in keys)
        return next(filter(None, inner), None)
    return None if old == new else (name, old, new)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def from_file(config: Config, path: str | Path) -> Config:
    """`config` with the values in a YAML file; UserError naming the file as `from_dict` and `read_file`."""
    values = read_file(path)
    try:
        return from_dict(config, values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def from_dict(config: Config, values: Any, prefix: str = "") -> Config:
    """`config` with these values, as a file or `to_dict` gives them, typed; prefix: of the fields' names in messages.

    UserError for an unknown key, a key without a value, and a value of another type.
    """
    values = _mapping(values, prefix.rstrip("."))
    known: Any = {f.name: f for f in fields(cast(Any, config))}
    if unknown := next((key for key in values if key not in known), None):
        group, dot, rest = str(unknown).partition(".")
        hint = f"in a file a group holds its keys: `{group}: {{{rest}: ...}}`" if dot and group in known else ""
        told = hint or near(str(unknown), options_of(config, prefix))
        raise UserError(f"unknown key {prefix + str(unknown)!r}; {told}")
    types, changes = get_type_hints(type(config)), {}
    for key, value in _switched(config, values).items():
        name, now = prefix + key, getattr(config, key)
        if value == "" != now:  # a word left out, not the default: no file, or this folder, would be taken
            raise UserError(f"{name}: expected {type_text(types[key])}, not ''")
        if (chosen := owner_of(known[key])) is not None:
            changed, value = split_owner(value, name)
            now = now if changed in (None, name_of(now)) else chosen.make(str(changed))
        changes[key] = from_dict(now, value, f"{name}.") if is_dataclass(now) else _typed(types[key], value, name)
    return replace(cast(Any, config), **changes) if changes else config


def _mapping(value: Any, name: str) -> Values:
    if isinstance(value, Mapping):
        return dict(value)
    what = "the key has no value" if value is None else f"not {value!r}"
    raise UserError(f"{f'{name}: ' if name else ''}expected keys with values; {what}")


def _switched(config: Any, values: Values) -> Values:
    """The values with what they switch off: of two options of which one is given (`EITHER`) the other is 0."""
    for one, other in getattr(type(config), "EITHER", ()):
        if (one in values) != (other in values):
            values = values | {other if one in values else one: 0}
    return values


def split_owner(value: Any, name: str) -> tuple[str | None, Values]:
    """(the name that is chosen, if any; the options): `strategy: gdas`, or `strategy: {name: gdas, probes: 2}`."""
    values = {"name": value} if isinstance(value, str) else _mapping(value, name)
    chosen = values.pop("name", None)
    if not isinstance(chosen, str | None):
        raise UserError(f"{name}: expected the name of one, not {chosen!r}")
    return chosen, values


@cache
def _value_parser(kind: Any) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=kind)
    return parser


def _typed(kind: Any, value: Any, name: str) -> Any:
    """The value as a `kind`; words become numbers, lists tuples, mappings dataclasses."""
    if value is None:
        if NoneType in get_args(kind):
            return None
        raise UserError(f"{name}: the key has no value; expected {type_text(kind)}")
    if isinstance(value, bool) and "on" in get_args(kind):
        value = "on" if value else "off"  # YAML takes the bare words for truth values
    item = next((arg for arg in get_args(kind) if is_dataclass(arg)), None)
    if item is not None and isinstance(value, list | tuple):
        # Built here: the parser would import a class that a file names.
        return tuple(_item(item, one, f"{name}.{i}") for i, one in enumerate(value))
    try:
        if item is not None:
            raise TypeError
        parser = _value_parser(kind)
        typed = parser.instantiate(parser.parse_object({"value": deepcopy(value)}, defaults=False)).value
    except (ArgumentError, ValueError, TypeError):
        raise UserError(f"{name}: expected {type_text(kind)}, not {value!r}") from None
    _check_numbers(typed, value, name)
    return typed


def _item(item: Any, value: Any, name: str) -> Any:
    """One of several dataclasses, from a mapping of its fields."""
    values, types, known = _mapping(value, name), get_type_hints(item), fields(item)
    required = {f.name for f in known if f.default is MISSING}
    if not required <= values.keys() <= {f.name for f in known}:
        names = ", ".join(f.name for f in known)
        raise UserError(f"{name}: expected the keys {names}, not {', '.join(map(str, values))}")
    return item(**{key: _typed(types[key], value, f"{name}.{key}") for key, value in values.items()})


def _check_numbers(typed: Any, given: Any, name: str) -> None:
    """UserError for a number that is none, or none that was written.

    Comparisons with NaN are false, so that no other check would see it; the parser, as YAML, reads 1:30 as 90.
    """
    if isinstance(typed, dict | list | tuple):
        for key, item in typed.items() if isinstance(typed, dict) else enumerate(typed):
            _check_numbers(item, given[key] if isinstance(given, dict | list | tuple) else None, f"{name}.{key}")
    elif isinstance(typed, float) and not math.isfinite(typed):
        raise UserError(f"{name}: expected a finite number, not {typed}")
    elif isinstance(typed, float) and abs(typed) > _LARGEST:
        raise UserError(f"{name}: expected at most {_LARGEST:g}, not {typed:g}")
    elif isinstance(typed, int | float) and isinstance(given, str) and ":" in given:
        raise UserError(f"{name}: expected {type_text(type(typed))}, not {given!r}")


def type_text(kind: Any, *, several: bool = False) -> str:
    """A type as a user reads it; several: of more values than one."""
    origin, args = get_origin(kind), get_args(kind)
    if origin in (typing.Union, UnionType):
        return " or ".join(type_text(arg, several=several) for arg in args if arg is not NoneType)
    if origin is Literal:
        return " or ".join(map(str, args))
    if origin is tuple:
        return f"{'one or more' if args[-1] is ... else len(args)} {type_text(args[0], several=True)}"
    if origin in (dict, Mapping):
        return f"names with {type_text(args[1], several=True)}, such as {{a: b}}"
    one, more = _WORDS.get(kind, (getattr(kind, "__name__", str(kind)),) * 2)
    return more if several else one


_WORDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    bool: ("true or false", "true or false"),
    Path: ("a path", "paths"),
}


def read_file(path: str | Path) -> Values:
    """The mapping in a YAML file; UserError naming the file for anything else."""
    document, _ = parse_yaml(read_text(path), str(path))
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected keys with values, one a line, as in `steps: 100`")
    return document


def merged_sources(default: Any, sources: Sequence[tuple[str, Values]]) -> Values:
    """The values of sources (file, values), the last on top; what names another owner starts from its defaults."""
    merged: Values = {}
    for _, values in sources:
        for key, value in values.items():
            f = next((f for f in fields(default) if f.name == key), None)
            if f is not None and owner_of(f) is not None and value is not None:
                before = split_owner(merged.get(key, {}), key)
                name, rest = split_owner(value, key)
                other = name is not None and before[0] is not None and name != before[0]
                complete = name is not None and name_of(getattr(default, key)) is None  # a recipe's name is all of it
                options = _over({} if other or complete else before[1], _switched(getattr(default, key), rest))
                merged[key] = options | ({"name": name or before[0]} if name or before[0] else {})
            else:
                merged[key] = _over(merged.get(key), value)
    return merged


def _over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _over(below.get(key), value) for key, value in above.items()}
    return above


def near(word: str, options: Mapping[str, Option], dashes: str = "") -> str:
    """Options that may have been meant, each with the dashes of a command line or without."""
    last = word.split(".")[-1]
    near = [name for name in options if last and last in name.split(".")[-1].split("_")]
    near += difflib.get_close_matches(word, options, n=3)
    near += [name for name in options if difflib.SequenceMatcher(None, last, name.split(".")[-1]).ratio() > 0.8]
    names = [dashes + name for name in (dict.fromkeys(near) if near else list(options)[:8])]
    return f"near: {', '.join(names)}" if near else f"there are: {', '.join(names)}, ..."
