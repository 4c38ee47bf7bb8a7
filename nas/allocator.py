"""The C library's allocator, told to keep what a step frees: the next step asks for the same again.

glibc gives large blocks back to the system at once, and the next step pays for their pages anew: a fault each. Here
they stay in the heap. What is computed is the same to the bit. Gains, and what did not pay: docs/performance.md.
"""

import ctypes
import os
import platform
from collections.abc import Mapping

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 2**31 - 1  # mallopt takes an int


def keep_freed_memory(environ: Mapping[str, str] = os.environ) -> bool:
    """Set this process's allocator; whether it was: not without glibc, and not where the user has chosen (environ)."""
    if platform.libc_ver()[0] != "glibc" or _chosen(environ):
        return False
    libc = ctypes.CDLL(None)
    # Older versions refuse a threshold above half of a thread's heap: 32 MiB.
    kept = any(libc.mallopt(_M_MMAP_THRESHOLD, size) for size in (_LARGEST, 2**25))
    return kept and bool(libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST))


def _chosen(environ: Mapping[str, str]) -> bool:
    """Whether the user has set the allocator, or put another in its place."""
    own = any(name.startswith("MALLOC_") for name in environ)
    return own or "glibc.malloc" in environ.get("GLIBC_TUNABLES", "") or "malloc" in environ.get("LD_PRELOAD", "")
