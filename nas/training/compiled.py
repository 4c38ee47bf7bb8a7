"""Steps of compiled code: what a network repeats, its open edges, or else the whole of it, by `torch.compile`.

Inductor writes one loop for a chain of operators (norms, ReLUs, sums; convolutions stay the libraries'), so a step
passes over memory less often and keeps less for the backward pass.

- Steps alone are compiled: they come by the thousand, in few shapes. Scores, second derivatives (the guard's) and what
  watches operators run as they are.
- Edges alike share one piece of code. An edge of which only some candidates are computed runs as it is: each sampled
  path would be compiled for a few steps.
- A graph of kernels (`nas.training.capture`) holds compiled code like any other; it is compiled in the steps before.
- Numbers differ by rounding from those of steps that are not compiled. So a run that is resumed goes on as it began.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from genotypes import UserError, UserNote
from nas.network import Network
from nas.network.edge import OpenEdge
from nas.run.distributed import processes

__all__ = ["CompileMode", "Compiled", "check_compile"]

CompileMode = Literal["off", "on", "auto"]

_LIMITS = {"recompile_limit": 64, "accumulated_recompile_limit": 1024}  # shapes, and what has a gradient and what not


def check_compile(mode: CompileMode, device: torch.device) -> None:
    """UserError where code is to be compiled (on) and cannot be."""
    if mode == "on" and (obstacle := _obstacle(device)):
        raise UserError(f"--compile on: steps cannot be compiled: {obstacle}")


@cache
def _obstacle(device: torch.device) -> str:
    """Why nothing can be compiled here; "" where it can be."""
    if processes() > 1:
        return f"one training in {processes()} processes is not"
    number = float(time.time_ns())  # a new one, so that no cache has the code
    try:
        torch.compile(lambda x: x + number, dynamic=False)(torch.ones(2, device=device))
    except Exception as error:  # of torch, the compiler, the system: whatever it is, nothing was compiled
        return _in_words(error)
    return ""


def _pays_from(net: Network, device: torch.device) -> float:
    """Steps from which `auto` compiles: docs/performance.md, "Compiled steps"."""
    if net.open_edges:
        return 2_000
    # On a CPU a fixed network's step takes longer compiled: torch's own norms are faster than Inductor's loops.
    return math.inf if device.type == "cpu" else 10_000


class Compiled:
    """Whether a training's steps are compiled, and how.

    mode: off; on: UserError where they cannot be; auto: if there are so many steps that it pays, and a compiler.
    steps: of the training.

    Attributes: on, whether they are; reason, why not, where they were to be.
    """

    def __init__(self, net: Network, steps: int, mode: CompileMode = "off") -> None:
        device = next(net.parameters()).device
        check_compile(mode, device)
        self.mode, self.on, self._code_used = mode, mode == "on", False
        self.reason = ""
        self._code: dict[type[nn.Module], Callable[..., Any]] = {}
        if mode == "auto" and steps >= _pays_from(net, device):
            self.on = True
            if obstacle := _obstacle(device):
                self._stop(obstacle)

    @contextmanager
    def __call__(self, net: Network) -> Iterator[None]:
        """Inside, the network's blocks are compiled code."""
        if not self.on:
            yield
            return
        blocks: list[nn.Module] = [part for part in net.modules() if isinstance(part, OpenEdge)] or [net]
        for block in blocks:
            block.__dict__["forward"] = partial(self._forward, block)  # found before the class's
        try:
            with torch._dynamo.config.patch(_LIMITS):
                yield
        finally:
            for block in blocks:
                del block.__dict__["forward"]

    def _forward(self, block: nn.Module, *arguments: Any) -> Any:
        plain = type(block).forward
        some = isinstance(block, OpenEdge) and arguments[-1] is not None  # of its candidates
        if some or not self.on or is_in_torch_dispatch_mode():
            return plain(block, *arguments)
        if type(block) not in self._code:
            self._code[type(block)] = torch.compile(plain, dynamic=False)
        try:
            result = self._code[type(block)](block, *arguments)
        except torch._dynamo.exc.TorchDynamoException as error:  # before anything was computed
            self._stop(_in_words(error))
            return plain(block, *arguments)
        self._code_used = True
        return result

    def _stop(self, reason: str) -> None:
        if self.mode == "on":
            raise UserError(f"--compile on: steps cannot be compiled: {reason}")
        self.on, self.reason = False, reason
        warnings.warn(UserNote(f"steps are not compiled, but run as they are: {reason}"), stacklevel=2)

    def resume(self, on: bool) -> None:
        """Go on as the run began."""
        if on and not self.on:
            warnings.warn(UserNote("the run began with compiled steps: from here on it rounds otherwise"), stacklevel=2)
        self.on = self.on and on

    def summary(self) -> str | None:
        """A few words for the end of a run; None of a run that was not to be compiled."""
        if not self.on:
            return None
        return "compiled steps" if self._code_used else "nothing compiled: each step computed only some candidates"


def _in_words(error: BaseException) -> str:
    """The first line that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
