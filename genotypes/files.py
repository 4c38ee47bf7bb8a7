"""Files are replaced in one step, and what the system refuses is said with the file's name."""

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from genotypes.errors import UserError

__all__ = ["is_temporary", "write_atomically", "write_csv", "writing"]

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")


@contextmanager
def write_atomically(path: str | os.PathLike[str], *, flush: bool = True) -> Iterator[IO[bytes]]:
    """`with write_atomically(path) as file:` - whatever happens, `path` is whole afterwards, the old or the new.

    Makes the folder if need be. Written beside it, flushed to the disk (a rename can reach that before the data it
    names), then renamed. Raises UserError where it cannot be written.

    flush: without it, many small files are written faster, and a power cut may leave an empty one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                yield file
                if flush:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # the folder may be none
            temporary.unlink()


def write_csv(path: str | os.PathLike[str], rows: Sequence[Any]) -> None:
    """Rows as a CSV file, in one step: sequences, the head first, or mappings, whose head are the first one's keys.

    Raises UserError where it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(rows[0], Mapping):
        writer.writerow(rows[0])
        writer.writerows([row[key] for key in rows[0]] for row in rows)
    else:
        writer.writerows(rows)
    with write_atomically(path) as file:
        file.write(text.getvalue().encode())


def is_temporary(name: str) -> bool:
    """Whether a file is what a killed `write_atomically` left."""
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the system refuses inside is a UserError that names `path`: a full disk does not say which file it was."""
    try:
        yield
    except FileExistsError:  # of mkdir: a file where a folder should be
        raise UserError(f"{path}: cannot be written: Not a directory") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
