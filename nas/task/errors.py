"""What can be wrong with a user's data."""

from genotypes.errors import UserError

__all__ = ["DataError"]


class DataError(UserError):
    """A folder, file or pair of files that cannot be used: the message names it and says what was expected."""
