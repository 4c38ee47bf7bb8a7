"""Errors a user can cause. Commands show their message alone (no traceback) and exit with code 2."""

__all__ = ["GenotypeError", "UserError", "UserNote", "check_least", "check_most", "plural"]


class UserError(ValueError):
    """A mistake in what the user gave (a file, a value, a folder): the message names it and what was expected."""


def check_least(options: object, where: str = "", **least: float) -> None:
    """UserError for the first of these fields that has a value below its least one; where: before its name."""
    for name, bound in least.items():
        value = getattr(options, name)
        if value is not None and value < bound:
            raise UserError(f"{where}{name} must be at least {bound}, not {value}")


def check_most(options: object, where: str = "", **most: float) -> None:
    """UserError for the first of these fields that has a value above its largest one: of a slip of the keyboard, which
    would fill all memory with what nobody has asked for.
    """
    for name, bound in most.items():
        value = getattr(options, name)
        if value is not None and value > bound:
            raise UserError(f"{where}{name} must be at most {bound:,}, not {value:,}")


def plural(count: int | str, noun: str) -> str:
    """A count in words: "1 photograph", "2 photographs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class UserNote(UserWarning):
    """What a user should know of work that was done all the same. Commands show its message alone."""


class GenotypeError(UserError):
    """A genotype that cannot be read, or that does not describe a network.

    path: where in the document, e.g. ("cells", 2, "operations", "p_n1"); the reader turns it into file and line.
    """

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def under(self, *prefix: str | int) -> "GenotypeError":
        """The same error, one level further out in the document."""
        return GenotypeError(self.message, (*prefix, *self.path))

    def __str__(self) -> str:
        return f"{format_path(self.path)}: {self.message}" if self.path else self.message


def format_path(path: tuple[str | int, ...]) -> str:
    """("cells", 2, "name") -> "cells[2].name"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
