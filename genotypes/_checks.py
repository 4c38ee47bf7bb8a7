"""Checks of plain data (what YAML gives) that fail with a GenotypeError and its place."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from genotypes.errors import GenotypeError

__all__ = ["at", "check_keys", "check_mapping", "freeze", "numbers", "strings", "thaw"]


def at(path: tuple[str | int, ...], function, *args, **kwargs):
    """`function(*args, **kwargs)`, its GenotypeErrors moved under `path`."""
    try:
        return function(*args, **kwargs)
    except GenotypeError as error:
        raise error.under(*path) from None


def check_mapping(data: Any) -> None:
    if not isinstance(data, Mapping):
        raise GenotypeError(f"expected a mapping, not {data!r}")


def check_keys(data: Any, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> None:
    check_mapping(data)
    for key in data:
        if key not in (*required, *optional):
            raise GenotypeError(f"unknown key {key!r}; known: {', '.join((*required, *optional)) or 'none'}", (key,))
    for key in required:
        if key not in data:
            raise GenotypeError(f"the key {key!r} is missing")


def strings(data: Any, key: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise GenotypeError(f"expected a list of names, not {data!r}", (key,))
    return tuple(data)


def numbers(data: Any, count: int, key: str) -> tuple:
    good = isinstance(data, list) and len(data) == count
    if not good or not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in data):
        raise GenotypeError(f"expected {count} numbers, not {data!r}", (key,))
    return tuple(data)


def freeze(data: Any) -> Any:
    if isinstance(data, Mapping):
        return MappingProxyType({key: freeze(value) for key, value in data.items()})
    return tuple(freeze(item) for item in data) if isinstance(data, (list, tuple)) else data


def thaw(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: thaw(value) for key, value in data.items()}
    return [thaw(item) for item in data] if isinstance(data, (list, tuple)) else data
