"""Device and seed, decided once at a command's start."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from genotypes import UserError

__all__ = ["open_device", "seeded"]


def open_device(name: str) -> torch.device:
    """The device called `name` ("cpu", "cuda", "cuda:1"; "auto": a GPU if there is one); UserError if absent."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used here ({reason}); `cpu` always can") from None
    return device


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights come from torch's global generator: seed it here, and leave it as it was found."""
    # Networks are initialised on the CPU: the GPUs' generators are left alone.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        yield
