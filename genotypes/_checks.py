"""Checks of plain data (what YAML gives) that fail with a GenotypeError and its place."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from genotypes.errors import GenotypeError

__all__ = ["at", "check_keys", "check_mapping", "freeze", "integers", "numbers", "show", "strings", "text", "thaw"]

P = ParamSpec("P")
T = TypeVar("T")

_LONGEST = 120  # characters of a value in a message


def at(path: tuple[str | int, ...], function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`function(*args, **kwargs)`, its GenotypeErrors moved under `path`."""
    try:
        return function(*args, **kwargs)
    except GenotypeError as error:
        raise error.under(*path) from None


def show(value: Any) -> str:
    """The value as it stands in a file, for messages: 'a name', 3, null, true, [1, 2], {key: 'value'}."""
    shown = _show(value)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 4] + " ..."


def _show(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_show, value)) + "]"
    # Python refuses to print integers of thousands of digits.
    return hex(value) if isinstance(value, int) and abs(value) > 1 << 64 else str(value)


def check_mapping(data: Any) -> None:
    if not isinstance(data, Mapping):
        raise GenotypeError(f"expected a mapping (key: value), not {show(data)}")


def check_keys(data: Any, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> None:
    check_mapping(data)
    known = (*required, *optional)
    for key in data:
        if key not in known:
            raise GenotypeError(f"unknown key {show(key)}; known: {', '.join(known) or 'none'}", (key,))
    for key in required:
        if key not in data:
            raise GenotypeError(f"the key {key!r} is missing")


def text(data: Any, key: str) -> str:
    if not isinstance(data, str) or not data.replace("\n", "").isprintable():
        raise GenotypeError(f"expected a text, not {show(data)}", (key,))
    return data


def strings(data: Any, key: str) -> tuple[str, ...]:
    if not isinstance(data, (list, tuple)) or not all(isinstance(item, str) for item in data):
        raise GenotypeError(f"expected a list of names, not {show(data)}", (key,))
    return tuple(data)


def numbers(data: Any, count: int, key: str) -> tuple[float, ...]:
    good = isinstance(data, (list, tuple)) and len(data) == count
    # The comparison also refuses infinities, NaN and integers that no float can hold.
    if not good or not all(type(item) in (int, float) and -1e9 < item < 1e9 for item in data):
        raise GenotypeError(f"expected a list of {count} numbers, not {show(data)}", (key,))
    return tuple(float(item) for item in data)


def integers(data: Any, count: int, key: str) -> tuple[int, ...]:
    good = isinstance(data, (list, tuple)) and len(data) == count
    if not good or not all(type(item) is int and 0 < item < 1e9 for item in data):
        raise GenotypeError(f"expected a list of {count} positive integers, not {show(data)}", (key,))
    return tuple(data)


def freeze(data: Any) -> Any:
    if isinstance(data, Mapping):
        return MappingProxyType({key: freeze(value) for key, value in data.items()})
    return tuple(freeze(item) for item in data) if isinstance(data, (list, tuple)) else data


def thaw(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: thaw(value) for key, value in data.items()}
    return [thaw(item) for item in data] if isinstance(data, (list, tuple)) else data
