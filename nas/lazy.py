"""Names of a package that are loaded when first asked for: what they need takes seconds to import."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["loaded_when_asked"]


def loaded_when_asked(package: str, places: Mapping[str, str], *, modules: str = "") -> Callable[[str], Any]:
    """The package's `__getattr__`. places: module -> names in it; modules: those that are names themselves.

    >>> loaded_when_asked("nas", {"lazy": "loaded_when_asked"})("loaded_when_asked") is loaded_when_asked
    True
    """
    found = {name: module for module, names in places.items() for name in names.split()}

    def get(name: str) -> Any:
        if name in modules.split():
            return importlib.import_module(f"{package}.{name}")
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{found[name]}"), name)

    return get
