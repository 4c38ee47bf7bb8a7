"""A device's work, recorded once and replayed: what records it, for each kind of device that can."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

import torch

__all__ = ["GRAPHS", "CudaGraph", "DeviceGraph", "capturable"]


class DeviceGraph(Protocol):
    """What one call of a function asked of the device. A replay asks the same again, of the same memory.

    pool: of `new_pool`; graphs of one pool share memory, so each must be done with it when another one is replayed.
    """

    def __init__(self, device: torch.device, pool: Any) -> None: ...

    @staticmethod
    def new_pool() -> Any:
        """Memory to record in."""

    @staticmethod
    def beside(device: torch.device) -> Any:
        """A context for work that is to be recorded later: what it makes once, it makes here."""

    def record(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        """Call `work`, but note what it asks of the device instead of doing it. Raises what `work` raises.

        generators: those that it draws from, but the device's own; a replay goes on from where they are then.
        """

    def replay(self) -> None:
        """Do it."""

    def release(self) -> None:
        """Give the memory back, once all replays are done."""


class CudaGraph:
    """A CUDA graph. All of a device are recorded on one stream, where libraries keep workspaces for it."""

    _streams: ClassVar[dict[torch.device, torch.cuda.Stream]] = {}

    def __init__(self, device: torch.device, pool: Any) -> None:
        self._device, self._pool = device, pool
        self._graph = torch.cuda.CUDAGraph()

    @staticmethod
    def new_pool() -> Any:
        # A handle must not be used again once its last graph is gone: every user of graphs takes its own.
        return torch.cuda.graph_pool_handle()

    @classmethod
    def _stream(cls, device: torch.device) -> torch.cuda.Stream:
        if device not in cls._streams:
            cls._streams[device] = torch.cuda.Stream(device)
        return cls._streams[device]

    @classmethod
    @contextmanager
    def beside(cls, device: torch.device) -> Iterator[None]:
        with torch.cuda.device(device):
            stream, current = cls._stream(device), torch.cuda.current_stream(device)
            stream.wait_stream(current)
            try:
                with torch.cuda.stream(stream):
                    yield
            finally:
                current.wait_stream(stream)

    def record(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> None:
        for generator in generators:
            self._graph.register_generator_state(generator)
        gc.collect()  # an earlier training's graphs must not go away while this one is recorded
        # thread_local: what other threads ask of the device meanwhile is no part of the graph, and does not spoil it.
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(
                self._graph, pool=self._pool, stream=self._stream(self._device), capture_error_mode="thread_local"
            ),
        ):
            work()

    def replay(self) -> None:
        self._graph.replay()

    def release(self) -> None:
        torch.cuda.synchronize(self._device)
        self._graph.reset()


GRAPHS: dict[str, type[DeviceGraph]] = {"cuda": CudaGraph}  # type of a device -> what records there


def capturable(device: torch.device) -> bool:
    """Whether steps may be captured on the device: then all numbers that differ from step to step are tensors."""
    return device.type in GRAPHS
