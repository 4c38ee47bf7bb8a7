"""Numbers below the smallest normal float (1.2e-38) count as zero while we compute.

Many processors take far longer for a subnormal number. CSNet's learnt widths (ECCV 2020, section 3.3)
leave channels whose weights have decayed to 1e-40: on a Xeon they took three quarters of a picture's time
(docs/performance.md).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["flush_subnormals", "flushed", "keep_flushing"]


def flushed() -> bool:
    """Whether subnormal numbers count as zero in this thread."""
    return sys.float_info.min / 2 == 0  # no literal: where it is zero, this code would not equal itself


@contextmanager
def flush_subnormals() -> Iterator[None]:
    """Let subnormal numbers count as zero where the processor can: in this thread until the end, in those it starts.

    Threads that torch has started before stay as they are. Without torch nothing is computed, and nothing is set.
    """
    if "torch" not in sys.modules:
        yield
        return
    import numpy as np

    for kind in (np.float16, np.float32, np.float64):
        np.finfo(kind)  # numpy looks for the smallest subnormal once, and warns where there is none
    with keep_flushing():
        _flush(True)
        yield


@contextmanager
def keep_flushing() -> Iterator[None]:
    """Around a library's call that sets this for itself, as opening a file in ONNX Runtime does: then as before."""
    before = flushed()
    try:
        yield
    finally:
        _flush(before)


def _flush(on: bool) -> None:
    import torch  # here: commands that compute nothing do not load it

    torch.set_flush_denormal(on)
