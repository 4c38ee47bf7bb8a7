"""Where a command may write, and how: files are replaced in one step, what the system refuses is said with a name."""

import csv
import hashlib
import io
import json
import math
import os
import re
import shlex
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from genotypes.errors import UserError

__all__ = [
    "check_file",
    "check_folder",
    "check_writable",
    "content_digest",
    "file_name",
    "is_temporary",
    "json_text",
    "machine",
    "quoted",
    "read_csv",
    "replacing",
    "replacing_files",
    "scratch_folder",
    "write_atomically",
    "write_bytes",
    "write_csv",
    "write_text",
    "writing",
]

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
_CLEARED: set[Path] = set()  # folders of which this process has cleared what killed ones left


def check_file(path: Path, *, suffix: str = "", overwrite: bool) -> None:
    """UserError for a file that a command may not or cannot write: of another ending, a folder, or there already."""
    if suffix and path.suffix != suffix:
        raise UserError(f"-o {path}: expected a name that ends in {suffix}")
    if path.is_dir():
        raise UserError(f"-o {path}: is a folder, expected a file")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{path} already exists; choose another -o, or replace it with --overwrite")
    with writing(path), suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()  # refuses a name that is too long
    check_writable(path.parent)


def check_folder(path: Path, own: Sequence[str], *, mark: str) -> None:
    """UserError unless a command can write into the folder, and it holds nothing but what may be replaced.

    own: what the command writes; mark: the one of these files without which the others are somebody else's.
    """
    check_writable(path)
    names = [entry.name for entry in path.iterdir()] if path.exists() else []
    own = own if mark in names else ()
    foreign = sorted(name for name in names if name not in own and not is_temporary(name))
    if foreign:
        raise UserError(f"{path} holds files of something else ({', '.join(foreign[:5])}): choose another -o")


def check_writable(path: Path) -> None:
    """UserError where nothing can be written into a folder, there already or to be made: before the work, not after.

    Tried with a file without a name in the first folder on the way up that is there, which is then as it was.
    """
    if path == Path("-"):
        raise UserError("-: expected a folder to write into; only retrain.predict writes to standard output")
    with writing(path):
        while True:
            try:
                path.lstat()
                break
            except (FileNotFoundError, NotADirectoryError):
                if path == path.parent:  # the working folder is gone
                    raise
                path = path.parent
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; expected a folder to write into")
        tempfile.TemporaryFile(dir=path).close()


def file_name(text: str) -> str:
    """A name as the name of one file or folder: what a file calls itself must not decide where things are written.

    Nor may it be hidden, or look like an option.

    >>> file_name("../../etc/x y"), file_name("random:0"), file_name("..")
    ('etc-x-y', 'random-0', '_')
    """
    return re.sub(r"[^\w.-]+", "-", text).lstrip(".-") or "_"


def content_digest(path: str | os.PathLike[str]) -> str:
    """A digest of what a file holds: a run that reads it again must find the same. UserError for an unreadable one."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as a shell takes it: commands that we tell a user are pasted.

    >>> quoted("runs/a"), quoted("my runs/a")
    ('runs/a', "'my runs/a'")
    """
    return shlex.quote(os.fspath(path))


@contextmanager
def write_atomically(path: str | os.PathLike[str], *, flush: bool = True) -> Iterator[IO[bytes]]:
    """`with write_atomically(path) as file:` - whatever happens, `path` is whole afterwards, the old or the new.

    Makes the folder if need be. Written beside it, flushed to the disk (a rename can reach that before the data it
    names), then renamed. What killed processes were writing into the folder goes. Raises UserError where it cannot be
    written.

    flush: without it, many small files are written faster, and a power cut may leave an empty one.
    """
    path = Path(path)
    temporary = _temporary(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent not in _CLEARED:  # once: maps are many
                _CLEARED.add(path.parent)
                _clear_left(path.parent)
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
    write_text(path, text.getvalue())


def read_csv(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The rows of a CSV file below its head: column -> text. UserError where it is something else."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected a table ({error})") from None


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """A file, in one step; UserError where it cannot be written."""
    with write_atomically(path) as file:
        file.write(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """A text file (UTF-8), in one step; UserError where it cannot be written.

    What a file's name holds that is no UTF-8 is written as \\udcff.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def json_text(data: Any) -> str:
    """Plain data as JSON, an entry a line; null for infinity and NaN, which JSON does not know.

    >>> json_text({"loss": float("inf")})
    '{\\n "loss": null\\n}'
    """
    return json.dumps(_without_infinities(data), indent=1)


def _without_infinities(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _without_infinities(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_infinities(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def is_temporary(name: str) -> bool:
    """Whether a file is what a killed `write_atomically` left."""
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder that, once the work inside is done, takes the place of `folder` and of all that it held.

    Where the work fails, what `folder` held stays. Of two at once the one that ends last stays. A link stays one: the
    folder that it leads to is replaced.
    """
    folder = folder.resolve()
    with scratch_folder(folder) as scratch:
        yield scratch
        with writing(folder):
            if folder.exists():
                shutil.rmtree(folder)
            scratch.rename(folder)


@contextmanager
def replacing_files(folder: Path, own: Sequence[str], *, mark: str) -> Iterator[Path]:
    """An empty folder whose files, once the work inside is done, take the place of all of `own` in `folder`.

    Makes `folder` if need be. Where the work fails, or is killed, what it held stays. own, mark: see `check_folder`.
    The mark goes first, so that what a command leaves that is killed even then may be replaced.
    """
    is_new = not folder.exists()
    try:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder / mark) as scratch:
            try:
                yield scratch
            except UserError as error:
                if str(scratch) not in str(error):
                    raise
                raise UserError(str(error).replace(str(scratch), str(folder))) from error  # where the files will be
            with writing(folder):
                made = sorted(scratch.iterdir(), key=lambda file: file.name != mark)
                for file in made:
                    file.replace(folder / file.name)
                for name in set(own).difference(file.name for file in made):
                    (folder / name).unlink(missing_ok=True)
    finally:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, which goes at the end, as does what killed processes were writing there."""
    scratch = _temporary(path)
    try:
        with writing(path):
            scratch.parent.mkdir(parents=True, exist_ok=True)
            _clear_left(scratch.parent)
            shutil.rmtree(scratch, ignore_errors=True)  # of a killed process that had our number
            scratch.mkdir()
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _temporary(path: Path) -> Path:
    """The name under which this process writes what shall stand at `path`; no other has it, on any machine.

    A name of 255 bytes, the most that file systems take, has no room for more: it is cut.
    """
    name = os.fsencode(path.name)[:200].decode(errors="ignore")
    return path.with_name(f".{name}.{_machine()}.{os.getpid()}.tmp")


@cache
def _machine() -> str:
    return hashlib.blake2b(" ".join(machine()).encode(), digest_size=4).hexdigest()


def machine() -> tuple[str, str]:
    """The host's name and, on Linux, the namespace of process numbers: containers may share the one, not the other.

    Processes that differ in one of them may share a folder, or a study, and have the same number.
    """
    processes = "/proc/self/ns/pid"
    return socket.gethostname(), os.readlink(processes) if os.path.lexists(processes) else ""


def _clear_left(folder: Path) -> None:
    """Delete the files and folders that killed processes of this machine were writing into a folder, as far as we may.

    On another machine that shares the folder the numbers of processes mean others.
    """
    for left in folder.glob(f".*.{_machine()}.*.tmp"):
        if is_temporary(left.name) and not _at_work(int(left.name.split(".")[-2])):
            with suppress(OSError):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _at_work(process: int) -> bool:
    """Whether a process of this number runs: what it writes, another thread of ours too, is not what a killed one left.

    Where there is no way to ask, it does: signal 0 is Ctrl-C on Windows.
    """
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the system refuses inside is a UserError that names `path`: a full disk does not say which file it was."""
    try:
        yield
    except FileExistsError:  # of mkdir: a file where a folder should be
        raise UserError(f"{path}: cannot be written: Not a directory") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
