"""Files are replaced in one step."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from genotypes.errors import UserError

__all__ = ["write_atomically"]


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """`with write_atomically(path) as file:` - whatever happens, `path` is whole afterwards, the old or the new.

    Makes the folder if need be. Written beside it, flushed to the disk (a rename can reach that before the data it
    names), then renamed. Raises UserError where it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except FileExistsError:  # of mkdir: a file where a folder should be
        raise UserError(f"{path}: cannot be written: Not a directory") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # the folder may be none
            temporary.unlink()
