"""Names for things a user can choose: refuses duplicates, and answers an unknown name with the known ones."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from genotypes.errors import UserError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """An ordered map from names to things of one kind, e.g. ``Registry("operation")``.

    ``kind`` is the singular noun with which the registry names itself in errors.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Raises UserError where ``name`` is taken: a word with two meanings makes genotypes ambiguous."""
        if name in self._entries:
            raise UserError(f"{self.kind} {name!r} is registered already; choose another name")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        """Raises UserError, listing the names that exist, for an unknown ``name``."""
        try:
            return self._entries[name]
        except KeyError:
            raise UserError(f"unknown {self.kind} {name!r}; there are: {', '.join(self)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
