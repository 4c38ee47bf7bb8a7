"""How much may be asked for at once: which input sizes there are, and what `--size` means where it takes two sides."""

from collections.abc import Sequence
from numbers import Integral

from genotypes import UserError
from genotypes.parts import SMALLEST

__all__ = ["LARGEST_BATCH", "MOST_WORKERS", "check_side", "parse_size"]

# Beyond these, a slip of the keyboard would take all of a machine.
LARGEST_BATCH = 10_000  # images a step
MOST_WORKERS = 1024  # processes or threads
_LARGEST = 8192  # pixels


def check_side(side: int) -> None:
    """UserError for a side that no network here takes."""
    if not isinstance(side, Integral) or not SMALLEST <= side <= _LARGEST:
        raise UserError(f"size must be {SMALLEST} to {_LARGEST} pixels, not {side!r}")


def parse_size(sides: Sequence[int] | None) -> tuple[int, int] | None:
    """One side, or height and width, as (H, W), nothing as None; UserError for anything else, see `check_side`."""
    if not sides:
        return None
    if len(sides) not in (1, 2):
        raise UserError(f"size: expected a side such as 224, or H,W such as 224,320, not {','.join(map(str, sides))}")
    for side in sides:
        check_side(side)
    return int(sides[0]), int(sides[-1])
