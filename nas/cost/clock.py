"""How long calls take, beside one another, on a machine that may be busy; and whether it was."""

import os
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from genotypes import UserNote
from genotypes.errors import plural

__all__ = ["OtherPrograms", "Prepare", "milliseconds", "read_clock", "timings", "warn_if_busy"]

Prepare = Callable[[], Callable[[], object]]  # prepares, untimed, and returns the function that is timed

_WARM_UP = 2
_IN_USE = 0.01  # a network that takes .4 ms alone took .8 among eighteen without it
_SHARE = 0.1  # of the processors, that others may take
_LEAST_SECONDS = 0.3  # the kernel counts in hundredths of a second


class OtherPrograms:
    """What share of this machine's processors other programs use, from when this object is made.

    The load average would not do: it lags by a minute, and includes what this program itself did before.
    """

    def __init__(self) -> None:
        self._start, self._began = _ticks(), time.perf_counter()
        self._own = _own_seconds()
        self.warning: str | None = None  # what `warn_if_busy` warned of, once the work is done

    def busy(self) -> str | None:
        """A clause that says how busy they were, if they took more than a tenth, so that times mislead; else None.

        Waits until enough time has passed to tell. Where the kernel does not count processor time (it does on Linux),
        the load average of the last minute is taken instead.
        """
        if self._start is None:
            cores = os.cpu_count() or 1
            load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
            return f"this machine was busy (load {load:.1f} on {plural(cores, 'core')})" if load > cores / 2 else None
        time.sleep(max(0.0, self._began + _LEAST_SECONDS - time.perf_counter()))
        now = _ticks()
        assert now is not None
        used, whole = (after - before for after, before in zip(now, self._start, strict=True))
        own = (_own_seconds() - self._own) * os.sysconf("SC_CLK_TCK")
        share = (used - own) / max(1, whole)
        return f"this machine was busy (others took {share:.0%} of its processors)" if share > _SHARE else None


@contextmanager
def warn_if_busy(consequence: str = "times mislead") -> Iterator[OtherPrograms]:
    """Watch other programs while something is timed inside; warn, in one line, if they kept the processors busy."""
    others = OtherPrograms()
    yield others
    others.warning = others.busy()
    if others.warning:
        warnings.warn(UserNote(f"{others.warning}: {consequence}"), stacklevel=3)


def _ticks() -> tuple[int, int] | None:
    """Ticks of all processors since the machine started: those that were used, and all; None where nothing counts."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    except OSError:
        return None
    columns = [int(word) for word in first.split()[1:9]]  # what follows, guests, has been counted as user time already
    _user, _nice, _system, idle, waiting, *_rest = columns
    return (sum(columns) - idle - waiting, sum(columns)) if sum(columns) else None


def _own_seconds() -> float:
    """Processor seconds of this program and of the children that it has waited for."""
    return sum(os.times()[:4])


def timings(
    calls: Collection[Prepare],
    *,
    repeats: int,
    device: torch.device,
    seconds: float = 0.0,
    threads: int = 0,
) -> np.ndarray:
    """Milliseconds [rounds, calls], after two rounds of warm-up: called in turn, since a busy minute slows all alike.

    calls: each prepares, untimed, and returns the function that is timed. repeats: rounds, and on until all calls
    together have taken `seconds`: thirty calls of 1 ms are over before memory and caches are as they will be. device,
    threads: see `read_clock`.
    """
    rounds: list[list[float]] = []
    spent = 0.0
    while len(rounds) < _WARM_UP + repeats or spent < seconds:
        rounds.append([])
        for prepare in calls:
            call = prepare()
            start = read_clock(device, threads)
            call()
            took = read_clock(device, threads) - start
            rounds[-1].append(1000 * took)
            spent += took
    return np.array(rounds[_WARM_UP:])


def read_clock(device: torch.device, threads: int = 0) -> float:
    """Seconds, once the device has done all it was asked to.

    threads: that the timed code uses on the CPU. Of one, the processor's time is taken, so that waiting for other
    programs is no part.
    """
    if device.type == "cpu":
        return time.process_time() if threads == 1 else time.perf_counter()
    torch.accelerator.synchronize(device)
    return time.perf_counter()


def milliseconds(
    calls: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 10,
    seconds: float = 0.0,
    device: torch.device | str = "cpu",
    threads: int = 1,
    quantile: float = 0.0,
) -> dict[str, float]:
    """The shortest time of each call, since other programs only ever slow one; quantile: of its times, instead.

    Of several, each is called untimed for `_IN_USE` seconds before: a network in use finds in the caches what it needs,
    where those that were called in between have left their own. The rest as in `timings`.
    """
    device = torch.device(device)
    prepared: list[Prepare] = [partial(_in_use, call, device, threads) for call in calls.values()]
    if len(calls) == 1:
        (call,) = calls.values()
        prepared = [lambda: call]
    times = timings(prepared, repeats=repeats, seconds=seconds, device=device, threads=threads)
    return dict(zip(calls, np.quantile(times, quantile, axis=0).tolist(), strict=True))


def _in_use(call: Callable[[], object], device: torch.device, threads: int) -> Callable[[], object]:
    start = read_clock(device, threads)
    while True:
        call()
        if read_clock(device, threads) - start >= _IN_USE:
            return call
