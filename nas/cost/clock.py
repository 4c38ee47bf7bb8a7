"""How long calls take, beside one another, on a machine that may be busy."""

import os
import time
from collections.abc import Callable, Mapping

__all__ = ["busy", "milliseconds"]

_WARM_UP = 2


def busy() -> str | None:
    """In words, that other programs compute on this machine, so that times mislead; None where it is quiet."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"this machine is busy (load {load:.1f} on {cores} cores)" if load > cores / 2 else None


def milliseconds(calls: Mapping[str, Callable[[], object]], *, repeats: int = 10, threads: int = 1) -> dict[str, float]:
    """The shortest time of each call, called in turn: a busy minute slows all alike, and other programs only ever slow.

    threads: that each call uses. Of one, the processor's time is taken, so that waiting for other programs is no part.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_WARM_UP + repeats):
        for name, call in calls.items():
            start = clock()
            call()
            times[name].append(1000 * (clock() - start))
    return {name: min(values[_WARM_UP:]) for name, values in times.items()}
