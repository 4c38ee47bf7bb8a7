"""Which images step k sees: a pure function of (seed, stream, step), so that a resumed run sees the same."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["generator", "batch_indices"]


def generator(seed: int, stream: str, step: int) -> torch.Generator:
    """A CPU generator for everything random in one step of one stream.

    Streams (`"weights"`, `"architecture"`, ...) are independent of each other, and so are steps.
    """
    digest = hashlib.blake2b(f"{seed}\0{stream}\0{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def batch_indices(n: int, batch_size: int, step: int, seed: int, stream: str) -> torch.Tensor:
    """Indices LongTensor[batch_size] of step `step` (from 0) when walking through shuffled epochs of n images.

    Every epoch is a new permutation and holds every image once. A batch that crosses the end of an epoch
    goes on in the next one, so every batch has `batch_size` images, also when n is smaller than that.

    Raises:
        ValueError: n or batch_size below 1, or a negative step.
    """
    if n < 1 or batch_size < 1 or step < 0:
        raise ValueError(f"need n >= 1, batch_size >= 1, step >= 0; got {n}, {batch_size}, {step}")
    start, stop = step * batch_size, (step + 1) * batch_size
    pieces = []
    for epoch in range(start // n, (stop - 1) // n + 1):
        order = torch.randperm(n, generator=generator(seed, f"{stream}/epoch", epoch))
        pieces.append(order[max(start - epoch * n, 0) : stop - epoch * n])
    return torch.cat(pieces)
