"""Named things: one record for each, one registry for each kind.

An operation, a template, a backbone, a loss, a strategy, a space: each is a word that a user types and a thing that
Python computes with. A `Record` holds all that is said about it in one place; a `Registry` finds it by its name,
refuses a name that is taken, and answers an unknown one with those that exist. Reading a record imports nothing: what
it stands for is imported when it is first asked for.

>>> from genotypes.registry import Record, Registry
>>> COLOURS = Registry("colour", Record)
>>> COLOURS.add(Record(name="ordered", summary="keeps the order of keys", source="collections:OrderedDict"))
>>> COLOURS["ordered"].load()
<class 'collections.OrderedDict'>
>>> @COLOURS.register("red")
... def red(n: int) -> list[int]:
...     "n reds."
...     return [255] * n
>>> COLOURS["red"].summary, COLOURS["red"].make(2)
('n reds.', [255, 255])
"""

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from genotypes._checks import show
from genotypes.errors import UserError

__all__ = ["Record", "Registry"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a named thing. Kinds with more to say derive from it.

    summary: one line, for lists, legends and help. paper: where it was published.
    source: the thing itself, or "package.module:attribute", imported when first asked for. Only code and `--plugin`
    files make records, so no genotype, configuration or checkpoint can name what is imported.
    arguments: keyword arguments that the source is called with, so that one function serves several names.
    """

    name: str
    summary: str = ""
    paper: str = ""
    source: Any = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """What the name stands for, imported if need be; with the record's arguments, if it has any."""
        thing = self.source
        if isinstance(thing, str):
            module, _, attribute = thing.partition(":")
            thing = getattr(importlib.import_module(module), attribute)
        return functools.partial(thing, **self.arguments) if self.arguments else thing

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """`load()`, called."""
        return self.load()(*args, **kwargs)


R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Registry(Generic[R]):
    """Names in order of registration, each with its record.

    kind: the singular noun with which the registry names itself in errors; record: the class of its records;
    error: what an unknown name raises, a UserError.
    """

    def __init__(self, kind: str, record: type[R], error: type[UserError] = UserError) -> None:
        self.kind = kind
        self._record = record
        self._error = error
        self._records: dict[str, R] = {}

    def add(self, *records: R) -> None:
        """UserError where a name is taken: a word with two meanings would change what exists."""
        for record in records:
            if record.name in self._records:
                raise UserError(f"{self.kind} {record.name!r} exists already; choose another name")
            self._records[record.name] = record

    def register(self, name: str, **fields: Any) -> Callable[[T], T]:
        """Decorator: adds a function or class under `name`. fields: the other fields of its record.

        The summary is by default the first line of the docstring. Raises UserError where the name is taken.
        """

        def register(thing: T) -> T:
            summary = (thing.__doc__ or "").strip().partition("\n")[0]
            self.add(self._record(**{"name": name, "summary": summary, "source": thing, **fields}))
            return thing

        return register

    def __getitem__(self, name: object) -> R:
        """The record; for an unknown name an error that lists those that exist."""
        if isinstance(name, str) and name in self._records:
            return self._records[name]
        raise self._error(f"unknown {self.kind} {show(name)}; known: {', '.join(sorted(self._records))}")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._records

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
