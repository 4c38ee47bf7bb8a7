"""One supernet whose members need no retraining: the sandwich rule with in-place distillation.

BigNAS (Yu et al., ECCV 2020): each step the largest member learns from the masks, the smallest and some random ones
from the largest's own maps. The largest trains alone at first (progressive shrinking: Once-for-All, Cai et al., ICLR
2020).
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genotypes import Genotype
from nas.network import Member, Network, extreme
from nas.strategies import SandwichSearch, member_choices
from nas.task import Batch, Batches, LossConfig, at_size, multi_output_loss
from nas.training import Task

__all__ = ["Sandwich"]

_POOL = 64  # members kept built; each is a skeleton without tensors


class _Drawn(NamedTuple):
    batch: Any
    members: list[Member]


class Sandwich(Task):
    """The mean of the members' losses: the largest's against the masks, the others' against the largest's maps.

    space: the open genotype. net: its supernet, `build(supernet_genotype(space), weights, affine=True)`. batches: at
    any size; each member sees them at its own. steps: how many there will be. Norms keep the largest member's
    statistics; those of another are to be estimated before it is used.
    """

    def __init__(
        self,
        net: Network,
        space: Genotype,
        batches: Batches,
        loss: LossConfig,
        cfg: SandwichSearch.Config,
        *,
        steps: int,
        seed: int = 0,
        precision: str = "fp32",
    ) -> None:
        self.net, self.space, self.batches, self.cfg = net, space, batches, cfg
        self._loss, self._steps, self._seed, self._precision = loss, steps, seed, precision
        self.largest = Member(net, space.decide(extreme(space, "largest")))
        self.smallest = Member(net, space.decide(extreme(space, "smallest")))
        self._pool: OrderedDict[Any, Member] = OrderedDict()

    def draw(self, step: int) -> _Drawn:
        """The batch and the smaller members of a step: a function of (seed, step)."""
        if step < self.cfg.alone * self._steps:
            return _Drawn(self.batches.draw(step), [])
        around = step // self.cfg.redraw
        drawn = [self._member(around * self.cfg.members + index) for index in range(self.cfg.members)]
        return _Drawn(self.batches.draw(step), [self.smallest, *drawn])

    def make(self, drawn: _Drawn) -> _Drawn:
        batch: Batch = drawn.batch
        return _Drawn(self.batches.make(batch), drawn.members)

    def loss(self, batch: _Drawn) -> Tensor:
        x, y = batch.batch
        learnt = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        maps: list[Tensor] = []

        def largest() -> Tensor:
            side = self.largest.genotype.input.size
            outputs = self.largest(at_size(x, side), keep_statistics=True)
            maps.append(outputs[0].detach().float().sigmoid())
            return multi_output_loss(outputs, at_size(y, side), self._loss)

        def smaller(member: Member) -> Tensor:
            side = member.genotype.input.size
            return self.taught(member(at_size(x, side)), at_size(maps[0], side), y)

        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
            total = _EagerGradients.apply(largest, *learnt)
            for member in batch.members:
                total = total + _EagerGradients.apply(partial(smaller, member), *learnt)
        return total / (1 + len(batch.members))

    def taught(self, outputs: Sequence[Tensor], maps: Tensor, masks: Tensor) -> Tensor:
        """The loss of a smaller member that learns from the largest's maps float[B, 1, h, w]; masks: [B, 1 or 2, H, W].

        The masks are not read here; `benchmarks/in_place.py` compares losses that do.
        """
        return multi_output_loss(outputs, maps, self._loss)

    def _member(self, number: int) -> Member:
        genotype = self.space.decide(member_choices(self.space, self._seed, number))
        if genotype.identity not in self._pool:
            self._pool[genotype.identity] = Member(self.net, genotype)
        self._pool.move_to_end(genotype.identity)
        while len(self._pool) > _POOL:
            self._pool.popitem(last=False)
        return self._pool[genotype.identity]


class _EagerGradients(torch.autograd.Function):
    """A loss whose gradients its forward pass finds: its activations are free before the next member's are made.

    loss: without arguments; parameters: all that its gradients are wanted of. It cannot be differentiated twice.
    """

    @staticmethod
    def forward(ctx: Any, loss: Callable[[], Tensor], *parameters: Tensor) -> Tensor:
        with torch.enable_grad():
            value = loss()
        ctx.save_for_backward(*torch.autograd.grad(value, parameters, allow_unused=True))
        return value.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(None if found is None else gradient * found for found in ctx.saved_tensors)
