"""Ctrl-C, SIGTERM and a time that is up end a run at the next step's end, saved; a second signal at once, or once the
file is whole.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "Interrupts", "deadline", "signals_held"]

_TIME_UP = 14  # the number of SIGALRM, which not every system has


def deadline(minutes: float | None) -> float | None:
    """When so many minutes from now are over, as `time.monotonic` counts; None where there is no limit (None or 0)."""
    return time.monotonic() + 60 * minutes if minutes else None


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and has saved itself. code: the exit code a shell expects for the signal."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(f"time is up: {message}" if signum == _TIME_UP else message)
        self.code = 128 + signum


class Interrupts:
    """`with Interrupts() as interrupts:` then, where the state is whole: `if interrupts.signum: save, stop`.

    on: False leaves the signals to whoever handles them already, as Python does in all threads but the main one.
    until: a `deadline`, which counts as a signal, too. A run uses one object for all that it does, one after the other:
    a signal that comes as one part ends is the next one's.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, *, on: bool = True, until: float | None = None) -> None:
        self._signum: int | None = None
        self._until = until
        self._on = on
        self._before: dict[int, Any] = {}

    @property
    def signum(self) -> int | None:
        """The signal that came; None as long as nothing asks the run to stop."""
        if self._signum is None and self._until is not None and time.monotonic() >= self._until:
            self._signum = _TIME_UP
        return self._signum

    def __enter__(self) -> "Interrupts":
        signals = self.SIGNALS if self._on and _in_main_thread() else ()
        self._before = {signum: signal.signal(signum, self._handle) for signum in signals}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._signum = signum
        self._restore()  # whoever is in a hurry sends the signal again

    def _restore(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)


def _in_main_thread() -> bool:
    """Which alone handles signals; pages and notebooks may train in another."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of what is done inside; only the main thread can hold them."""
    if not _in_main_thread():
        yield
        return
    came: list[int] = []
    before = {signum: signal.signal(signum, lambda number, _: came.append(number)) for signum in Interrupts.SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for number in dict.fromkeys(came):
            os.kill(os.getpid(), number)
