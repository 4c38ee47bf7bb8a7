"""The moving average of a network's weights."""

import copy
from typing import Any

import torch
from torch import Tensor

from nas.network import Network
from nas.training.loop import Change, Number, Trainer

__all__ = ["MovingAverage"]


class MovingAverage(Change):
    """Of weights and norm statistics; `net` is the averaged network, `decay` the share that a step keeps.

    It starts short, (1 + k) / (10 + k) at step k, so that it forgets the initial weights soon.
    """

    name = "average"

    def __init__(self, net: Network, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.decay = decay
        self._new = Number(next(net.parameters()).device)  # the share of the new weights
        self._floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._others: tuple[list[Tensor], list[Tensor]] = ([], [])  # counts of norms
        for old, new in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            kind = self._floats if old.is_floating_point() else self._others
            kind[0].append(old)
            kind[1].append(new)

    def prepare(self, trainer: Trainer) -> None:
        self._new.set(1 - min(self.decay, (1 + trainer.step) / (10 + trainer.step)))

    @torch.no_grad()
    def after(self, trainer: Trainer) -> None:
        old, new = self._floats
        share = self._new.value
        if isinstance(share, Tensor):  # `lerp` by a tensor is a kernel for each of the lists
            moves = torch._foreach_sub(new, old)
            torch._foreach_mul_(moves, share)
            torch._foreach_add_(old, moves)
        else:
            torch._foreach_lerp_(old, new, share)
        if self._others[0]:  # there are networks without norms, and torch takes no empty lists
            torch._foreach_copy_(*self._others)

    def state_dict(self) -> Any:
        return self.net.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.net.load_state_dict(state)
