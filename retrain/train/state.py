"""Everything a training changes while it runs: built once, saved and restored as one."""

import copy
import re
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nas.network import Network
from nas.optim import check_patterns, make_optimizer
from retrain.recipe import Recipe
from retrain.train.dynamic_decay import DynamicDecay

__all__ = ["TrainState"]


class TrainState:
    """Network, its moving average, optimiser, the step to do next, running sums of the loss and the time spent."""

    def __init__(self, net: Network, recipe: Recipe, device: torch.device) -> None:
        self.net = net.to(device, memory_format=torch.channels_last)
        self.decay = recipe.ema
        self.average: Network | None = copy.deepcopy(self.net).requires_grad_(False) if recipe.ema else None
        self.still = _norms(net) if recipe.norms == "eval" else []
        if recipe.freeze_backbone_norms and net.backbone is not None:
            self.still += _norms(net.backbone)
            for norm in _norms(net.backbone):
                norm.requires_grad_(False)
        check_patterns("recipe: frozen", recipe.frozen, net)
        for name, parameter in net.named_parameters():
            if any(re.match(pattern, name) for pattern in recipe.frozen):
                parameter.requires_grad_(False)
        self.optimizer = make_optimizer(self.net, recipe.optim)
        if recipe.dynamic_decay:
            DynamicDecay(self.net, recipe.dynamic_decay).attach(self.optimizer)
        self.step = 0
        self.sums = {"loss": 0.0, "count": 0}
        self.seconds = 0.0

    @property
    def result(self) -> Network:
        """The network to score and to save: the average where there is one."""
        return self.net if self.average is None else self.average

    def train_mode(self) -> None:
        self.net.train()
        for norm in self.still:
            norm.eval()

    def advance(self) -> None:
        """After a weight step: move the average of weights and norm statistics, count the step.

        The average starts short (decay (1 + k) / (10 + k) at step k), so that it forgets the initial weights soon.
        """
        if self.average is not None:
            decay = min(self.decay, (1 + self.step) / (10 + self.step))
            pairs = zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True)
            floats, counts = [], []
            for pair in pairs:
                (floats if pair[0].is_floating_point() else counts).append(pair)
            with torch.no_grad():
                get_ema_multi_avg_fn(decay)([old for old, _ in floats], [new for _, new in floats], None)
                for old, new in counts:
                    old.copy_(new)
        self.step += 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "genotype_hash": self.net.genotype.hash,
            "step": self.step,
            "net": self.net.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": self.sums,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.sums, self.seconds = state["step"], state["sums"], state["seconds"]
        self.net.load_state_dict(state["net"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])


def _norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]
