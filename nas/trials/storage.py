"""Where a study lies: in memory, in a journal file, or in a database."""

import fcntl
import os
import re
import time
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from genotypes import UserError

__all__ = ["STORAGE_ERRORS", "open_storage", "reason", "storage_name"]

STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)  # what a database that goes away raises

_FORMS = "expected sqlite:///FILE, postgresql://..., mysql+pymysql://..., or a file that ends in .journal or .log"
# What SQLAlchemy's drivers are called to pip. The one that postgresql:// means differs between its versions.
_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "mysqldb": "pymysql, and write mysql+pymysql://...",
}
_TRIES = 5  # workers that start together make the same tables at the same time; all but one are told no


def open_storage(storage: str | None, folder: Path | None = None) -> BaseStorage:
    """The storage that `TrialsConfig.storage` names; None: a journal in `folder`, or memory where there is no folder.

    Raises UserError where it cannot be opened.
    """
    if storage is None:
        return _open_journal(folder / "study.journal") if folder else InMemoryStorage()
    if "://" in storage:
        return _open_database(storage)
    if storage.endswith((".journal", ".log")):
        return _open_journal(Path(storage))
    raise UserError(f"storage {storage!r}: {_FORMS}")


def storage_name(storage: str | None, folder: Path | None = None) -> str:
    """How messages call it: never with a password."""
    if storage is None:
        return str(folder / "study.journal") if folder else "memory"
    return re.sub(r"(://[^:/@]*):[^/]*@", r"\1:***@", storage)


def _open_database(url: str) -> BaseStorage:
    shown = storage_name(url)
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise UserError(f"storage {shown!r}: {_FORMS}") from None
    if dialect not in ("sqlite", "postgresql", "mysql"):
        raise UserError(f"storage {shown!r}: unknown kind {dialect!r}; {_FORMS}")
    # SQLite's own patience of 5 s is short for a busy disk; a connection that a server has dropped is opened again.
    options = {"connect_args": {"timeout": 60}} if dialect == "sqlite" else {"pool_pre_ping": True}
    for left in reversed(range(_TRIES)):
        try:
            return get_storage(RDBStorage(url, engine_kwargs=options))
        except ImportError:
            driver = parsed.get_driver_name()
            package = _PACKAGES.get(driver, driver)
            raise UserError(f"storage {shown}: its driver is not installed: pip install {package}") from None
        except (*STORAGE_ERRORS, RuntimeError) as error:  # RuntimeError: tables of another Optuna
            if not left or not isinstance(error, DBAPIError):
                raise UserError(f"storage {shown} cannot be opened: {reason(error)}") from None
            time.sleep(0.1)
    raise AssertionError("unreachable")


def reason(error: Exception) -> str:
    """The database's own words, in one line."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return str(cause).strip().split("\n")[0] or type(cause).__name__


def _open_journal(path: Path) -> BaseStorage:
    if not path.parent.is_dir():
        raise UserError(f"storage {path}: there is no folder {path.parent}")
    try:
        path.touch()
        lock = _FileLock(path)
        lock.acquire()
        try:
            _mend(path)
        finally:
            lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except OSError as error:
        raise UserError(f"storage {path} cannot be opened: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise UserError(f"storage {path} is not a journal of Optuna") from None


def _mend(path: Path) -> None:
    """Cut off a last line that a power failure or a full disk left without its end: Optuna stumbles over it."""
    with open(path, "rb+") as file:
        content = file.read()
        if content and not content.startswith(b'{"op_code":'):  # somebody's own file: not a byte of it is touched
            raise ValueError("not a journal")
        file.truncate(content.rfind(b"\n") + 1)


class _FileLock:
    """A lock on the journal itself that the kernel takes from a killed process. Optuna's own would stay for 30 s."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        file = os.open(self._path, os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
