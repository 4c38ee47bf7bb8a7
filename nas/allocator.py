"""The C library's allocator, told to keep what a step frees: the next step asks for the same again.

glibc gives large blocks back to the system at once, and the next step pays for their pages anew: a fault each. Here
they stay in the heap, which asks for huge pages (2 MiB) where the system offers them. What is computed is the same to
the bit. Gains, and what did not pay: docs/performance.md.
"""

import ctypes
import os
import platform
from collections.abc import Mapping
from pathlib import Path

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 2**31 - 1  # mallopt takes an int
_MADV_HUGEPAGE, _HUGE = 14, 2**21
_HEAP = _LARGEST - 2**27  # below the trim threshold, so that it stays


def keep_freed_memory(environ: Mapping[str, str] = os.environ) -> bool:
    """Set this process's allocator; whether it was: not without glibc, and not where the user has chosen (environ)."""
    if platform.libc_ver()[0] != "glibc" or _chosen(environ):
        return False
    libc = ctypes.CDLL(None)
    # Older versions refuse a threshold above half of a thread's heap: 32 MiB.
    kept = any(libc.mallopt(_M_MMAP_THRESHOLD, size) for size in (_LARGEST, 2**25))
    kept = kept and bool(libc.mallopt(_M_TRIM_THRESHOLD, _LARGEST))
    if kept and not _address_space_is_scarce():
        _ask_for_huge_pages(libc)
    return kept


def _ask_for_huge_pages(libc: ctypes.CDLL) -> None:
    """For the addresses that the heap will grow into; a block that is never written takes no memory."""
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = libc.malloc(ctypes.c_size_t(_HEAP))
    if block:
        libc.madvise(-(-block // _HUGE) * _HUGE, _HEAP - _HUGE, _MADV_HUGEPAGE)
        libc.free(block)


def _address_space_is_scarce() -> bool:
    """Whether addresses count even where nothing is written: after `ulimit -v`, or with strict overcommit."""
    import resource  # not on every system, and here there is glibc

    overcommit = Path("/proc/sys/vm/overcommit_memory")
    strict = overcommit.is_file() and overcommit.read_text().strip() == "2"
    return strict or resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _chosen(environ: Mapping[str, str]) -> bool:
    """Whether the user has set the allocator, or put another in its place."""
    own = any(name.startswith("MALLOC_") for name in environ)
    return own or "glibc.malloc" in environ.get("GLIBC_TUNABLES", "") or "malloc" in environ.get("LD_PRELOAD", "")
