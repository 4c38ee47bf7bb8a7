"""The registry of operations: name -> factory. The words alone, free of torch, are in genotypes.vocabulary."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from torch import nn

from genotypes import vocabulary
from genotypes.errors import UserError
from search_spaces._registry import Registry

__all__ = ["OperationFactory", "build_operation", "operation_names", "register_operation"]


class OperationFactory(Protocol):
    """Makes a module [B, in_channels, H, W] -> [B, out_channels, H, W]. A function, or the module's class
    itself.

    ``affine=False`` asks for norms without learnt scale and shift: candidates of a search use it, since a
    scale would hide an operation's weight. It has no effect on an operation without norms.
    """

    def __call__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> nn.Module: ...


F = TypeVar("F", bound=OperationFactory)

_FACTORIES: Registry[OperationFactory] = Registry("operation")


def register_operation(name: str, *, widths: str = "same", summary: str = "") -> Callable[[F], F]:
    """Decorator: gives an OperationFactory its name, from then on valid in genotypes.

    Args:
        name: the word used in genotypes. It is declared in ``genotypes.vocabulary`` if it is not there yet.
        widths: "same" (output has as many channels as the input) or "any".
        summary: one line for lists and legends; by default the first line of the factory's docstring.

    Raises UserError where the name is taken, or the vocabulary declares it with other ``widths``.
    """

    def register(factory: F) -> F:
        word = vocabulary.OPERATIONS.get(name)
        if word is not None and word.widths != widths:
            raise UserError(f"operation {name!r} is declared with widths={word.widths!r}, not with widths={widths!r}")
        if word is None:
            first_line = (factory.__doc__ or "").strip().partition("\n")[0]
            vocabulary.declare_operation(name, widths=widths, summary=summary or first_line)
        _FACTORIES.add(name, factory)
        return factory

    return register


def build_operation(name: str, in_channels: int, out_channels: int, affine: bool = True) -> nn.Module:
    """The module of operation ``name``: [B, in_channels, H, W] -> [B, out_channels, H, W].

    Raises UserError for an unknown name (listing those that exist) and for widths the operation cannot have.
    """
    factory = _FACTORIES[name]
    if in_channels < 1 or out_channels < 1:
        raise UserError(f"operation {name!r}: channel counts must be positive, got {in_channels} -> {out_channels}")
    if vocabulary.OPERATIONS[name].widths == "same" and in_channels != out_channels:
        raise UserError(
            f"operation {name!r} keeps the number of channels, got {in_channels} -> {out_channels}; "
            "change the width first, e.g. with conv2d_1x1"
        )
    return factory(in_channels, out_channels, affine=affine)


def operation_names() -> tuple[str, ...]:
    """The names of all registered operations, in order of registration."""
    return tuple(_FACTORIES)
