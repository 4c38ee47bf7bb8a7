"""Where a study lies (memory, a journal file, a database), and who works on its trials.

A worker writes itself into the trial's user attributes, so that the trial of a killed one is found and tried again. On
the same machine a process is looked up. Of a worker on another machine the beat must change within some time of our own
clock: no two clocks are compared.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from optuna.exceptions import OptunaError, StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from genotypes import UserError
from genotypes.files import machine, writing
from nas.run import without_password

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "STORAGE_ERRORS",
    "Heartbeat",
    "Watch",
    "anchor_storage",
    "give_back",
    "open_storage",
    "reason",
    "storage_name",
    "this_worker",
]

STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)  # what a database that goes away raises

_FORMS = "expected sqlite:///FILE, postgresql://..., mysql+pymysql://..., or a file that ends in .journal or .log"
# What SQLAlchemy's drivers are called to pip. The one that postgresql:// means differs between its versions.
_PACKAGES = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "mysqldb": "pymysql, and write mysql+pymysql://...",
}
_BEAT, _WORKER = "beat", "worker"  # user attributes of a trial
_LOG = b'{"op_code":'  # what every line of a journal begins with
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


def anchor_storage(storage: str | None, folder: str | None) -> str | None:
    """The storage with a relative path meant from `folder`, where a run began: it may be resumed from elsewhere."""
    if not storage or not folder:
        return storage
    database = re.match(r"sqlite(\+\w+)?:///", storage)
    if "://" in storage and not database:
        return storage
    kind = database[0] if database else ""
    file = storage.removeprefix(kind)
    named = file.split("?")[0]
    if named in ("", ":memory:") or named.startswith("file:"):
        return storage
    return kind + str(Path(folder) / file)


def storage_name(storage: str | None, folder: Path | None = None) -> str:
    """How messages call it: never with a password."""
    if storage is None:
        return str(folder / "study.journal") if folder else "memory"
    return without_password(storage)


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
        lock: Any = _FileLock(path) if fcntl else JournalFileOpenLock(str(path))  # their base class is private
        lock.acquire()
        try:
            _cut_off_half_a_line(path)
        finally:
            lock.release()
        return JournalStorage(_Journal(str(path), lock_obj=lock))
    except OSError as error:
        raise UserError(f"storage {path} cannot be opened: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise UserError(f"storage {path} is not a journal of Optuna") from None


def _cut_off_half_a_line(path: Path) -> None:
    """Cut off a last line that a power failure or a full disk left without its end: Optuna stumbles over it."""
    with open(path, "rb+") as file:
        content = file.read()
        if content[: len(_LOG)] != _LOG[: len(content)]:  # somebody's own file: not a byte of it is touched
            raise ValueError("not a journal")
        file.truncate(content.rfind(b"\n") + 1)


class _Journal(JournalFileBackend):
    """A full disk is said with the journal's name."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with writing(self._file_path):
            super().append_logs(logs)


class _FileLock:
    """A lock on the journal itself that the kernel takes from a killed process. Optuna's own stays for 30 s."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        file = os.open(self._path, os.O_RDWR)
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        return True

    def release(self) -> None:
        file, self._file = self._file, None  # first: once it is closed, another thread may hold the lock
        if file is not None:
            os.close(file)


def this_worker() -> dict[str, Any]:
    """This process, told from every other one: host (with its boot and its container), pid, start of the process."""
    return {"host": _host(), "pid": os.getpid(), "started": _started(os.getpid())}


def _host() -> str:
    name, space = machine()
    boot = Path("/proc/sys/kernel/random/boot_id")  # of Linux: a restarted machine counts its processes from 1 again
    parts = [name, boot.read_text().strip()[:8] if boot.is_file() else "", space.strip("pid:[]")]
    if os.name == "nt":  # no process is looked up there: each is a machine, and gone once it shows no life
        parts.append(str(os.getpid()))
    return "/".join(filter(None, parts))


def _started(pid: int) -> str | None:
    """When the process started (Linux: in clock ticks since boot; elsewhere: ""); None if it does not run."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    if os.name == "nt":  # there the next line is Ctrl-C
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def give_back(storage: BaseStorage, trial_id: int) -> None:
    """Let anybody try a trial again: the same one, with the choices that it has."""
    with suppress(OptunaError, RuntimeError):  # finished by now
        storage.set_trial_user_attr(trial_id, _WORKER, None)
        storage.set_trial_state_values(trial_id, TrialState.WAITING)


class Watch:
    """Finds the running trials whose worker is gone.

    clock: seconds, monotonic.
    """

    def __init__(self, stale_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._me = this_worker()
        self._stale_after = stale_after
        self._clock = clock
        self._seen: dict[int, tuple[Any, float]] = {}  # number -> last sign of life, when it was first seen

    def lost(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        return [t for t in trials if t.state == TrialState.RUNNING and self._is_lost(t)]

    def _is_lost(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(_WORKER)
        if worker and worker["host"] == self._me["host"]:
            # Of this very process: an earlier study of it, that was interrupted twice.
            return worker == self._me or _started(worker["pid"]) != worker["started"]
        sign = (worker, trial.user_attrs.get(_BEAT))
        if self._seen.get(trial.number, (None,))[0] != sign:
            self._seen[trial.number] = (sign, self._clock())
        return self._clock() - self._seen[trial.number][1] > self._stale_after


class Heartbeat:
    """`with Heartbeat(storage, trial_id, every):` marks the trial as ours and shows life every so many seconds."""

    def __init__(self, storage: BaseStorage, trial_id: int, every: float) -> None:
        self._storage = storage
        self._trial_id = trial_id
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._storage.set_trial_user_attr(self._trial_id, _WORKER, this_worker())
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(self._every):
            count += 1
            with suppress(Exception):  # a database that is away for a while: the next beat may reach it
                self._storage.set_trial_user_attr(self._trial_id, _BEAT, count)
