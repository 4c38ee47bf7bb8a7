"""Who works on a trial, and whether they still live: the trial of a killed worker is found and tried again.

A worker writes itself into the trial's user attributes. On the same machine a process is looked up. Of a worker on
another machine the beat must change within some time of our own clock: no two clocks are compared.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

__all__ = ["Heartbeat", "Watch", "this_worker"]

_BEAT, _WORKER = "beat", "worker"  # user attributes of a trial


def this_worker() -> dict[str, Any]:
    """This process, told from every other one: host (with its boot and its container), pid, start of the process."""
    return {"host": _host(), "pid": os.getpid(), "started": _started(os.getpid())}


def _host() -> str:
    parts = [socket.gethostname()]
    try:  # two containers may share a host name, and a restarted machine its process numbers
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid").strip("pid:[]"))
    except OSError:
        pass  # not Linux
    return "/".join(parts)


def _started(pid: int) -> str | None:
    """When the process started (Linux: in clock ticks since boot; elsewhere: ""); None if it does not run."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


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
