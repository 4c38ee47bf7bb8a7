"""DARTS: differentiable architecture search (Liu, Simonyan and Yang, ICLR 2019)."""

import torch

from nas.strategies.base import Loss, register_strategy
from nas.strategies.differentiable import Differentiable
from nas.strategies.hypergradient import second_order

__all__ = ["Darts", "SecondOrderDarts"]


@register_strategy("darts")
class Darts(Differentiable):
    """Softmax mixtures of all candidates; first order: the weights are taken as they are."""


@register_strategy("darts_2nd")
class SecondOrderDarts(Darts):
    """DARTS through one virtual weight step: four passes a step instead of one, for a less biased gradient."""

    def hypergradient(self, train: Loss, valid: Loss, params: dict, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
        return second_order(train, valid, self.alpha, params, lr=lr, radius=self.cfg.radius)
