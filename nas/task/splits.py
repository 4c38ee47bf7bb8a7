"""Parts of a set: disjoint ones (weights, architecture, held out), and evenly spread samples."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch

from genotypes import UserError
from genotypes.errors import plural
from nas.task.batches import generator

__all__ = ["evenly", "hold_out", "split", "spread"]

T = TypeVar("T")


def spread(items: list[T], limit: int | None) -> list[T]:
    """`limit` items evenly spaced over the list (all if None): a sample without chance."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def evenly(rows: torch.Tensor, limit: int) -> torch.Tensor:
    """At most `limit` of the rows, evenly spread: the first ones of a sorted set are of one kind."""
    return torch.tensor(spread(rows.tolist(), limit))


def split(n: int, fractions: Sequence[float], seed: int) -> list[torch.Tensor]:
    """Shuffle 0..n-1 and cut it into disjoint parts.

    Args:
        n: images in the set.
        fractions: share of each part, > 0, together at most 1. Shares that sum to 1 use every image.
        seed: the same seed gives the same parts.

    Returns:
        One LongTensor of sorted indices for each fraction.

    Raises:
        ValueError: a fraction outside (0, 1], a sum above 1, or a part that would be empty.
    """
    shares = [float(f) for f in fractions]
    if not shares or any(not 0 < f <= 1 for f in shares) or sum(shares) > 1 + 1e-9:
        raise ValueError(f"fractions must be in (0, 1] and sum to at most 1, got {shares}")
    order = torch.randperm(n, generator=generator(seed, "split", 0))
    # Rounding the running sum, not each share, keeps parts disjoint and uses up every image.
    cuts = [0]
    for i in range(len(shares)):
        cuts.append(min(n, round(n * sum(shares[: i + 1]))))
    parts = [order[a:b].sort().values for a, b in pairwise(cuts)]
    for share, part in zip(shares, parts, strict=True):
        if len(part) == 0:
            raise ValueError(f"a share of {share} of {plural(n, 'image')} is empty: give more images or a larger share")
    return parts


def hold_out(n: int, share: float, seed: int, *, name: str) -> list[torch.Tensor]:
    """`split` of set `name`: the rows to train on, and those held out, at least one on either side.

    UserError for a single image.
    """
    if n < 2:
        raise UserError(f"{name}: a single photograph cannot be both trained on and held out; give two or more")
    share = min(max(share, 1 / n), 1 - 1 / n)
    return split(n, (1 - share, share), seed)
