"""Device and seed, decided once at a command's start."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from genotypes import UserError

__all__ = [
    "explain_out_of_memory",
    "open_device",
    "own_defaults",
    "peak_memory",
    "seeded",
    "sent",
    "torch_threads",
    "with_tensors",
]


def open_device(name: str) -> torch.device:
    """The device called `name` ("cpu", "cuda", "cuda:1"; "auto": a GPU if there is one); UserError for others.

    Apple's `mps` is refused: it keeps no float64, and nobody has tested it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"(cpu|cuda)(:\d+)?", name):
        lacks = ", which keeps no float64 (losses are summed in it)" if name == "mps" else ""
        raise UserError(f"device {name!r}{lacks}: expected cpu, cuda, cuda:N or auto")
    try:
        return torch.empty(1, device=name).device  # cuda is cuda:0, as tensors say
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used here ({reason}); `cpu` always can") from None


def sent(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """The tensor on a device. A copy to a GPU is not waited for: that would wait for all its work so far."""
    device = torch.device(device)
    return tensor.to(device, non_blocking=device.type == "cuda")  # elsewhere its bytes may be read at once


def with_tensors(given: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same with every tensor changed; given: tensors, plain values, and tuples and lists of them."""
    if isinstance(given, torch.Tensor):
        return change(given)
    if isinstance(given, tuple | list):
        parts = [with_tensors(part, change) for part in given]
        return type(given)(*parts) if hasattr(given, "_fields") else type(given)(parts)
    return given


def peak_memory(device: torch.device) -> str:
    """The most memory that tensors have taken on a GPU so far; "" for another device."""
    if device.type != "cuda":
        return ""
    held, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return f"peak memory {held / 2**30:.2f} GiB ({reserved / 2**30:.2f} with what torch keeps for more)"


@contextmanager
def explain_out_of_memory(what: str) -> Iterator[None]:
    """Inside, running out of a GPU's memory is a UserError that begins with `what` and says what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        asked = re.search(r"Tried to allocate ([\d.]+ \w+)", str(error))
        missing = f" ({asked[1]} more were needed)" if asked else ""
        raise UserError(
            f"{what}: out of memory on the GPU{missing}; lower the batch size, the images' size or the channels, or "
            "take precision bf16"
        ) from None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights come from torch's global generator: seed it here, and leave it as it was found."""
    # Networks are initialised on the CPU: the GPUs' generators are left alone.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed % 2**63)
        yield


@contextmanager
def own_defaults() -> Iterator[None]:
    """Inside, new tensors are float32 on the CPU, without autocast, whatever the program that calls us has set."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Inside, torch computes with so many threads on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
