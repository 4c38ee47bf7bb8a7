"""What `--size` means, for every command whose network takes any size."""

from genotypes import UserError

__all__ = ["parse_size"]


def parse_size(text: str) -> tuple[int, int]:
    """ "224" or "224,320" as (H, W); UserError for anything else and for less than 32 pixels."""
    parts = text.split(",")
    if len(parts) not in (1, 2) or not all(part.strip().isdecimal() for part in parts):
        raise UserError(f"size: expected a side such as 224, or H,W such as 224,320, not {text!r}")
    height, width = int(parts[0]), int(parts[-1])
    if min(height, width) < 32:
        raise UserError(f"size: networks take 32 pixels or more a side, not {text!r}")
    return height, width
