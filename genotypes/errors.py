"""Errors a user can cause. Commands show their message alone (no traceback) and exit with code 2."""

__all__ = ["UserError", "GenotypeError"]


class UserError(ValueError):
    """A mistake in what the user gave (a file, a value, a folder): the message names it and what was expected."""


class GenotypeError(UserError):
    """A genotype that cannot be read, or that does not describe a network."""
