"""Which input sizes there are, and what `--size` means for the commands that take two sides."""

from genotypes import UserError

__all__ = ["check_side", "parse_size"]

_SMALLEST, _LARGEST = 32, 8192  # beyond, a slip of the keyboard would take all of a machine's memory


def check_side(side: int) -> None:
    """UserError for a side that no network here takes."""
    if not _SMALLEST <= side <= _LARGEST:
        raise UserError(f"size must be {_SMALLEST} to {_LARGEST} pixels, not {side}")


def parse_size(text: str) -> tuple[int, int]:
    """ "224" or "224,320" as (H, W); UserError for anything else, see `check_side`."""
    parts = text.split(",")
    if len(parts) not in (1, 2) or not all(part.strip().isdecimal() for part in parts):
        raise UserError(f"size: expected a side such as 224, or H,W such as 224,320, not {text!r}")
    height, width = int(parts[0]), int(parts[-1])
    check_side(height)
    check_side(width)
    return height, width
