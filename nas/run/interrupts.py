"""Ctrl-C and SIGTERM end a run at the next step's end, saved; a second one at once, or once the file is whole."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "Interrupts", "signals_held"]


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and has saved itself. code: the exit code a shell expects for the signal."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.code = 128 + signum


class Interrupts:
    """`with Interrupts() as interrupts:` then, where the state is whole: `if interrupts.signum: save, stop`.

    on: False leaves the signals to whoever handles them already.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, *, on: bool = True) -> None:
        self.signum: int | None = None
        self._signals = self.SIGNALS if on else ()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        for signum in self._signals:
            self._before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        self._restore()  # whoever is in a hurry sends the signal again

    def _restore(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)


@contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of what is done inside; only the main thread can hold them."""
    if threading.current_thread() is not threading.main_thread():
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
