"""Which input sizes there are, what `--size` means where it takes two sides, and how much memory there is."""

import os
from collections.abc import Sequence
from contextlib import suppress
from numbers import Integral
from pathlib import Path

from genotypes import UserError

__all__ = ["SMALLEST", "check_side", "memory_bytes", "parse_size"]

SMALLEST = 32  # pixels: the least that networks take
_LARGEST = 8192  # beyond, a slip of the keyboard would take all of a machine's memory
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container


def memory_bytes() -> int:
    """The machine's memory, or the container's where that is less."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _LIMITS:
        with suppress(OSError, ValueError):  # no such limit, or "max"
            known.append(int(Path(file).read_text()))
    return min(known)


def check_side(side: int) -> None:
    """UserError for a side that no network here takes."""
    if not isinstance(side, Integral) or not SMALLEST <= side <= _LARGEST:
        raise UserError(f"size must be {SMALLEST} to {_LARGEST} pixels, not {side!r}")


def parse_size(sides: Sequence[int]) -> tuple[int, int] | None:
    """One side, or height and width, as (H, W), nothing as None; UserError for anything else, see `check_side`."""
    if not sides:
        return None
    if len(sides) not in (1, 2):
        raise UserError(f"size: expected a side such as 224, or H,W such as 224,320, not {','.join(map(str, sides))}")
    for side in sides:
        check_side(side)
    return int(sides[0]), int(sides[-1])
