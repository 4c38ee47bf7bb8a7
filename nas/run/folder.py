"""The folder of a run: its configuration, environment, checkpoint, history, TensorBoard events and products.

Every file in it is written in one step (`write_atomically`); checkpoints are read without executing anything.
"""

import os
import platform
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genotypes import UserError, UserNote
from genotypes.files import (
    check_writable,
    is_temporary,
    json_text,
    write_atomically,
    write_csv,
    write_text,
    writing,
)
from nas.run.distributed import is_first, scratch_folder
from nas.run.interrupts import Interrupts, signals_held
from nas.run_files import environment_of, identity_of

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "RunFolder",
    "check_free",
    "environment",
    "find_checkpoint",
    "load_checkpoint",
    "save_checkpoint",
    "without_password",
]

_CHECKPOINT = "checkpoint.pt"
_RUNS = "runs"  # where runs go that are given no folder


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; UserError where that is not possible. Signals wait until the file is whole."""
    with signals_held(), write_atomically(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch hides the system's error behind one of its own
            if not isinstance(error.__context__, OSError):
                raise
            raise error.__context__ from None


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state written by `save_checkpoint`; UserError if the file is something else."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # what a stray file makes the reader raise is not documented
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a checkpoint of this program ({reason})") from None
    if not isinstance(state, dict):
        raise UserError(f"{path}: not a checkpoint of this program (it holds {type(state).__name__})")
    return state


def find_checkpoint(folder: str | os.PathLike[str] | None) -> Path | None:
    """The checkpoint of the run in this folder; None where there is none, so that nothing is resumed there."""
    path = Path(folder) / _CHECKPOINT if folder else None
    return path if path and path.is_file() else None


class RunFolder:
    """A run's folder.

    config.yaml       the resolved configuration: `--config RUN/config.yaml` repeats the run
    environment.json  versions, device, threads, git commit, and the folder in which the command was given
    checkpoint.pt     everything needed to resume (`save`, `load`)
    identity.json     of a run without one: what it must agree with (`agree`)
    history.csv       one row an evaluation
    events/           TensorBoard
    """

    def __init__(self, path: Path, until: float | None = None) -> None:
        self.path, self.interrupts = path, Interrupts(until=until)
        self._config: str | None = None  # of a run that goes on
        self.history: list[dict[str, Any]] = []
        self._writer: SummaryWriter | None = None

    @classmethod
    def open(
        cls, out: str | None, kind: str, config: str, *, resume: bool = False, until: float | None = None
    ) -> "RunFolder":
        """A new folder (default: the next free runs/KIND-NNN), or, with `resume`, the one that is there.

        config: YAML text. until: the `deadline` at which the run saves itself and stops. Raises UserError rather than
        writing into a folder that already holds something, or that another process works on. What a killed one was
        writing is cleared away.
        """
        if not is_first():
            return cls(scratch_folder(), until)
        check_free(out, resume=resume)
        try:
            folder = cls(Path(out) if out else _next_free(Path(_RUNS), kind), until)
            folder.path.mkdir(parents=True, exist_ok=True)
            _claim(folder.path)
            for left in folder.path.rglob(".*.tmp"):
                if is_temporary(left.name) and not left.is_dir():  # of an export's folder the next export disposes
                    left.unlink(missing_ok=True)
            if resume:
                _continue_threads(environment_of(folder.path).get("threads"))
                folder._config = config
            else:
                folder.write_text("config.yaml", config)
            if not (folder.path / "environment.json").is_file():
                folder.write_text("environment.json", json_text(environment()))
        except OSError as error:
            raise UserError(f"{out or _RUNS}: cannot be written: {error.strerror}") from None
        return folder

    def keep_config(self) -> None:
        """Write the config.yaml of a run that goes on, once its checkpoint fits: photographs may lie elsewhere now."""
        if self._config is not None:
            self.write_text("config.yaml", self._config)

    def note_command(self) -> None:
        """Note what was typed now, too: of a run that goes on with other settings, the page shows all commands."""
        found = environment_of(self.path)
        more = found.get("continued") or []
        if _command() not in (found.get("command"), *more):
            self.write_text("environment.json", json_text(found | {"continued": [*more, _command()]}))

    def agree(self, identity: Mapping[str, str]) -> None:
        """Note what the run is of, kind -> value, such as its photographs' fingerprint; UserError if that has changed.

        A kind that it does not know yet is noted. For runs of many trainings: a single one says it in its checkpoint.
        """
        before = identity_of(self.path)
        for what, now in identity.items():
            if (then := before.get(what, now)) != now:
                raise UserError(f"{self.path} began with another {what}: {then} then, {now} now")
        if identity.keys() - before.keys():
            self.write_text("identity.json", json_text(before | dict(identity)))

    def write_text(self, name: str, text: str) -> None:
        """Write a file of the run."""
        write_text(self.path / name, text)

    def save(self, state: dict[str, Any]) -> None:
        """Checkpoint `state` (tensors and plain values) and the history."""
        save_checkpoint(self.path / _CHECKPOINT, state | {"history": self.history})

    def load(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The last checkpoint, with the history put back to it; None if the run never came that far."""
        checkpoint = find_checkpoint(self.path)
        if checkpoint is None:
            if (self.path / "history.csv").is_file():
                note = f"{self.path}: there is no {_CHECKPOINT} beside history.csv, so the run begins again"
                warnings.warn(note, UserNote, stacklevel=2)
            return None
        state = load_checkpoint(checkpoint, device)
        if "history" not in state:
            raise UserError(f"{checkpoint}: not a checkpoint of this program (it holds no history)")
        self.history = state.pop("history")
        self._write_history()  # rows written after the checkpoint will be made again
        return state

    def record(self, row: dict[str, Any]) -> None:
        """Add a row to history.csv; UserError where its columns are not those of the rows before it."""
        if self.history and row.keys() != self.history[0].keys():
            differ = ", ".join(sorted(row.keys() ^ self.history[0].keys()))
            raise UserError(f"{self.path}: other columns than its history has: {differ}; give the same --plugin files")
        self.history.append(row)
        self._write_history()

    def events(self, step: int = 0) -> "SummaryWriter":
        """The TensorBoard writer; events from `step` on that an interrupted run left are dropped."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to load

            self._writer = SummaryWriter(str(self.path / "events"), purge_step=step)
        return self._writer

    def close(self) -> None:
        """The run is done; its folder is free for another process."""
        if self._writer is not None:
            self._writer.close()
        _release(self.path)

    def _write_history(self) -> None:
        if self.history:
            write_csv(self.path / "history.csv", self.history)


def check_free(out: str | None, *, resume: bool = False) -> None:
    """UserError if a run cannot have this folder (None: one in runs/): it holds something, cannot be written into, or
    another process works on it.

    `RunFolder.open` checks it, too; a command does so first of all, so that nobody waits for a refusal.
    """
    if not is_first():
        return
    path = Path(out or _RUNS)
    taken = out and not resume and path.exists()
    if taken and (not path.is_dir() or any(not is_temporary(file.name) for file in path.iterdir())):
        or_resume = ", or continue it with --resume" if (path / "config.yaml").is_file() else ""
        raise UserError(f"{path} already exists: choose another --out{or_resume}")
    check_writable(path)
    with writing(path):
        if out and path.is_dir() and (handle := _lock(path.resolve())) is not None:
            os.close(handle)


_claims: dict[Path, int] = {}  # folders that this process works on, held open: the system frees a dead one's


def _claim(path: Path) -> None:
    """UserError where another process works on this folder; it is ours until `_release`, or the process's end."""
    path = path.resolve()
    if (handle := _lock(path)) is not None:
        _claims[path] = handle


def _lock(path: Path) -> int | None:
    """What holds the lock of this folder, to be closed; None where it is ours already or the system has no such lock.

    UserError where another process has it.
    """
    try:
        import fcntl
    except ImportError:  # as on Windows
        return None
    if path in _claims:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(
            f"{path}: another process works on this run; wait for its end, or choose another --out"
        ) from None
    except OSError:  # a file system without locks, as some over a network are
        os.close(handle)
        return None
    return handle


def _release(path: Path) -> None:
    handle = _claims.pop(path.resolve(), None)
    if handle is not None:
        os.close(handle)


def _next_free(parent: Path, kind: str) -> Path:
    """Makes the folder, too: two commands that start together must not choose the same."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = parent / f"{kind}-{number:03d}"
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("unreachable")


def _continue_threads(threads: Any) -> None:
    """As many threads as when the run began: another number adds up in another order, and gives other bits."""
    here = torch.get_num_threads()
    if isinstance(threads, int) and 0 < threads != here:
        print(f"threads {threads}, as when the run began ({here} here): to the same bits", file=sys.stderr)
        torch.set_num_threads(threads)


def environment() -> dict[str, Any]:
    """What a run was made with: versions, machine, the command."""
    packages = [
        "torch",
        "numpy",
        "scipy",
        "pillow",
        "pysodmetrics",
        "optuna",
        "networkx",
        "pyyaml",
        "jsonargparse",
        "safetensors",
    ]
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return {
        "command": _command(),
        "folder": os.getcwd(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": commit or None,
    }


def _command() -> list[str]:
    """What was typed, to be pasted: of `python -m MODULE`, sys.argv holds the path of MODULE's file.

    Without passwords: pages show it, and pages are sent to others.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    typed = sys.argv if spec is None else ["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
    return [without_password(word) for word in typed]


def without_password(url: str) -> str:
    """What may be shown of a database's address, as SQLAlchemy reads it: a name may hold an @, a password a /.

    >>> without_password("postgresql://me:secret@host/db"), without_password("mysql://host/db?passwd=secret")
    ('postgresql://me:***@host/db', 'mysql://host/db?passwd=***')
    """
    if "://" not in url:
        return url
    shown = re.sub(r"(://[^:/]*):[^@]*@([^/@]*@)*", r"\1:***@", url)
    return re.sub(r"([?&]\w*passw\w*=)[^&]*", r"\1***", shown)  # drivers take one there as well
