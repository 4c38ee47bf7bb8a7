"""A step captured once in a graph, then replayed: the same computation without Python in it.

A graph keeps addresses and the host's numbers, and runs no Python. So:

- Steps are of one *kind* where nothing but values in the given tensors differs: their shapes, all that is given beside
  tensors, and the key that the task gives (`Task.fixed`). Each kind has a graph of its own.
- The first steps of a kind are run as they are, on the stream where it is captured later. They are steps of the
  training like any other, so nothing that they move (norm statistics, optimiser state, generators) has to be put back;
  and what is made once, for the optimiser say, is made in them. The very first is watched: what reads a value, or
  copies from the host, is named, and then nothing is captured.
- All passes of a step, its update and the changes to it are one graph: separately captured backward passes that add up
  gradients can spoil them in silence (github.com/pytorch/pytorch/issues/181723).
- What is given is copied to buffers that stay. A number that differs from step to step is a tensor that the host fills
  (`Number`, learning rates, step counts). Graphs of one training share their memory.
- New parameters or another optimiser need new graphs: `forget`.
- Replays are counted and told: a step that silently is not captured looks like success.
"""

import traceback
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genotypes import UserError, UserNote
from genotypes.errors import plural
from nas.run.device import peak_memory, with_tensors
from nas.run.distributed import processes
from nas.run.graphs import GRAPHS, DeviceGraph, capturable

__all__ = ["Capture", "CaptureMode", "check_capture"]

CaptureMode = Literal["auto", "on", "off"]

_FIRST = 2  # steps that run as they are, until there is a graph
_KINDS = 16  # that are remembered; of more, those least recently seen go
_TORCH = str(Path(torch.__file__).parent)


@dataclass
class _Kind:
    """Steps that differ in values alone: how many were seen, and their graph with the memory that it reads."""

    seen: int = 0
    graph: DeviceGraph | None = None
    given: Any = None


def check_capture(mode: CaptureMode, device: torch.device) -> None:
    """UserError where steps are to be captured (on) on a device that cannot."""
    if mode == "on" and not capturable(device):
        raise UserError(f"--capture on: the device is {device}; steps are captured on: {', '.join(GRAPHS)}")


class Capture:
    """Runs a function of what changes from step to step, by a graph where it can.

    mode: off; auto: on devices that can, and what cannot be captured is told once and runs as it is; on: then it is a
    UserError. first: steps of each further kind that run as they are; 2 where steps are compiled, which a watched one
    is not.

    Attributes: replayed and plain, steps by a graph and without; graphs, captured so far; reason, why no more are.
    """

    def __init__(self, device: torch.device, mode: CaptureMode = "auto", first: int = 1) -> None:
        check_capture(mode, device)
        self.device, self.mode, self._first = device, mode, first
        self.replayed = self.plain = self.graphs = 0
        self.reason: str | None = None
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()
        self._pool: Any = None
        if mode == "off" or (mode == "auto" and not capturable(device)):
            self.reason = "--capture off" if mode == "off" else ""
        elif processes() > 1:
            self._stop(f"one training in {processes()} processes is not")

    def __call__(
        self,
        work: Callable[[Any], None],
        given: Any,
        fixed: Hashable | None = (),
        generators: Sequence[torch.Generator] = (),
    ) -> None:
        """work(given). given: tensors, plain values, and tuples and lists of them.

        fixed: a key for all else that decides what is computed, but for tensors that stay in place; None: the step is
        like no other, and is never captured. generators: the work draws from these and the device's own; the host
        seeds them.
        """
        if self.reason is not None or fixed is None:
            self.plain += 1
            return work(given)
        kind = self._kind((fixed, _signature(given)))
        if kind.graph is None:
            kind.seen += 1
            if kind.seen <= (self._first if self.graphs else _FIRST) or not self._record(kind, work, given, generators):
                return self._run(work, given, watched=kind.seen == 1)
        assert kind.graph is not None
        for buffer, value in zip(_tensors(kind.given), _tensors(given), strict=True):
            buffer.copy_(value)
        kind.graph.replay()
        self.replayed += 1
        return None

    def leave(self, reason: str) -> None:
        """Capture nothing, and say why where something would have been; UserError where the mode is on."""
        if self.reason is None:
            self._stop(reason)

    def forget(self) -> None:
        """What was captured is of no use any more: the function works on other memory now."""
        for kind in self._kinds.values():
            if kind.graph is not None:
                kind.graph.release()
        self._kinds.clear()
        self._pool = None

    def summary(self) -> str | None:
        """One line for the end of a run; None on a device where nothing is captured."""
        if not capturable(self.device):
            return None
        why = f" ({self.reason})" if self.reason else ""
        replayed = f"{plural(self.replayed, 'step')} replayed from {plural(self.graphs, 'graph')}"
        counts = f"{replayed}, {self.plain} run as they are{why}"
        return "; ".join(filter(None, (counts, peak_memory(self.device))))

    def _kind(self, key: Hashable) -> _Kind:
        kind = self._kinds.setdefault(key, _Kind())
        self._kinds.move_to_end(key)
        if len(self._kinds) > _KINDS:
            _, oldest = self._kinds.popitem(last=False)
            if oldest.graph is not None:
                oldest.graph.release()
        return kind

    def _run(self, work: Callable[[Any], None], given: Any, watched: bool) -> None:
        watch = _Watch(self.device)
        with GRAPHS[self.device.type].beside(self.device), watch if watched else nullcontext():
            work(given)
        self.plain += 1
        if watch.found:
            self._stop(watch.found)

    def _record(
        self, kind: _Kind, work: Callable[[Any], None], given: Any, generators: Sequence[torch.Generator]
    ) -> bool:
        backend = GRAPHS[self.device.type]
        if self._pool is None:
            self._pool = backend.new_pool()
        graph = backend(self.device, self._pool)
        kind.given = with_tensors(given, Tensor.clone)
        try:
            graph.record(lambda: work(kind.given), generators)
        except RuntimeError as error:  # of torch, for what a graph cannot hold; also where memory does not suffice
            self._stop(_first_reason(error))
            return False
        kind.graph = graph
        self.graphs += 1
        return True

    def _stop(self, reason: str) -> None:
        if self.mode == "on":
            raise UserError(f"--capture on: steps cannot be captured: {reason}")
        self.reason = reason
        self.forget()
        warnings.warn(UserNote(f"steps are not captured, but run as they are: {reason}"), stacklevel=2)


def _tensors(given: Any) -> Iterator[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, tuple | list):
        for part in given:
            yield from _tensors(part)


def _signature(given: Any) -> Hashable:
    """What a graph keeps of it: all but the tensors' values."""
    if isinstance(given, Tensor):
        return given.shape, given.stride(), given.dtype, given.device
    if isinstance(given, tuple | list):
        return type(given), *map(_signature, given)
    return given


class _Watch(TorchDispatchMode):
    """Notes the first operator that makes the host wait for the device, and whose code asked for it."""

    _TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
    _aten = torch.ops.aten
    # `where` with a number, and `index` with the host's: they copy them.
    _COPIES = (_aten._to_copy.default, _aten.copy_.default, _aten._foreach_copy_.default, _aten.where.self)

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.found = ""
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if not self.found and (what := self._waits(func, args, result)):
            self.found = f"{func.overloadpacket.__name__} {what}{_place(traceback.extract_stack())}"
        return result

    def _waits(self, func: Any, args: Any, result: Any) -> str:
        here = any(value.device.type == self._device.type for value in _tensors(args))
        devices = {value.device.type for value in _tensors((args, result))}
        index = func is self._aten.index.Tensor
        masks = index and any(by.dtype in (torch.bool, torch.uint8) for by in _tensors(args[1]))
        if here and (masks or (not index and any(tag in func.tags for tag in self._TAGS))):
            return "reads a tensor's values"
        if func is self._aten.lift_fresh.default and here and self._device.type != "cpu":
            return "copies a tensor made of Python's numbers to the device"
        if (index or func in self._COPIES) and len(devices) > 1:
            return "copies between the host and the device"
        return ""


def _place(stack: traceback.StackSummary) -> str:
    """Where outside torch and this file it was asked for."""
    for frame in reversed(stack):
        if not frame.filename.startswith(_TORCH) and frame.filename != __file__:
            return f" ({Path(frame.filename).name}, line {frame.lineno}: {frame.line})"
    return ""


def _first_reason(error: BaseException) -> str:
    """The first line of what was raised first: ending a capture that has failed raises once more."""
    while error.__context__ is not None:
        error = error.__context__
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return line + _place(traceback.extract_tb(error.__traceback__))
