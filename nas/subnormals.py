"""Numbers below the smallest normal float (1.2e-38) count as zero while we compute.

Many processors take about a hundred cycles more for a subnormal number. CSNet's learnt widths (ECCV 2020, section 3.3)
leave channels whose weights have decayed to 1e-40: on a Xeon they took three quarters of a picture's time
(docs/performance.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["flush_subnormals", "flushed", "keep_flushing"]


def flushed() -> bool:
    """Whether subnormal numbers count as zero in this thread."""
    return 5e-324 * float(1) == 0


@contextmanager
def flush_subnormals() -> Iterator[None]:
    """Let subnormal numbers count as zero where the processor can: in this thread until the end, in those it starts.

    Threads that torch has started before stay as they are.
    """
    for kind in (np.float16, np.float32, np.float64):
        np.finfo(kind)  # numpy looks for the smallest subnormal once, and warns where there is none
    before = flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def keep_flushing() -> Iterator[None]:
    """Around a library's call that sets this for itself, as opening a file in ONNX Runtime does: then as before."""
    before = flushed()
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
