"""What a strategy must provide, and the parameters that the differentiable ones share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from genotypes import UserError
from nas.network import Network

__all__ = ["STRATEGIES", "ArchitectureParameters", "Loss", "Strategy", "StrategyConfig", "register_strategy"]

# The loss of one batch, given the edge weights [E, O] and, by name, the network's parameters.
Loss = Callable[[torch.Tensor, dict[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class StrategyConfig:
    """How architecture parameters are updated and read.

    Attributes:
        lr: learning rate of the architecture parameters (Adam).
        weight_decay: coupled decay of the architecture parameters; pulls the softmax towards uniform.
        radius: finite-difference step of second-order DARTS, over the norm of the gradient.
        exclude_none: derive the best operation other than `none`.
    """

    lr: float = 6e-3
    weight_decay: float = 1e-3
    radius: float = 0.01
    exclude_none: bool = False

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.weight_decay < 0 or self.radius <= 0:
            raise UserError("strategy: lr and radius must be positive, weight_decay not negative")


class Strategy(ABC):
    """Chooses an operation for every open edge of a supernet.

    The search loop calls, at each step: `weights` for the weight update's mixture, then, once warm, and only if
    `learns`, `architecture_step`. At the end it asks for `choices`. Everything else is shared.
    """

    learns = True  # False: the supernet need not be trained at all

    def __init__(self, net: Network, cfg: StrategyConfig, seed: int) -> None:
        self.net, self.cfg, self.seed = net, cfg, seed

    @abstractmethod
    def weights(self, step: int) -> torch.Tensor:
        """How much each candidate counts in step `step`: [open edges, most candidates], no gradient."""

    @abstractmethod
    def choices(self) -> dict[str, str]:
        """The operation of every open edge, as it would be derived now."""

    def architecture_step(self, step: int, train: Loss, valid: Loss, lr: float) -> float:
        """Improve the architecture on `valid`; `train` and `lr` are those of the weights' next step. The valid loss."""
        return float("nan")

    def probabilities(self) -> dict[str, dict[str, float]]:
        """Edge -> candidate -> probability: for logs and drawings."""
        weights = self.weights(0).tolist()
        edges = self.net.open_edges.items()
        return {edge: dict(zip(ops, row, strict=False)) for (edge, ops), row in zip(edges, weights, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """All that changes during a search: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - a strategy without state is fine
        """Continue from `state_dict()`."""


class ArchitectureParameters(nn.Module):
    """One row of logits alpha for every open edge; an edge's candidates compete by softmax (DARTS, eq. 2).

    alpha: float[open edges, most candidates]; where an edge has fewer candidates, `valid` is False.
    """

    def __init__(self, net: Network, seed: int) -> None:
        super().__init__()
        counts = torch.tensor([len(candidates) for candidates in net.open_edges.values()])
        valid = torch.arange(int(counts.max())) < counts[:, None]
        generator = torch.Generator().manual_seed(seed % 2**63)
        self.alpha = nn.Parameter(1e-3 * torch.randn(valid.shape, generator=generator))
        self.register_buffer("valid", valid)

    def softmax(self, alpha: torch.Tensor) -> torch.Tensor:
        """Probabilities of the candidates, zero where an edge has none: [open edges, most candidates]."""
        return alpha.masked_fill(~self.valid, -torch.inf).softmax(-1)

    def entropy(self) -> float:
        """Mean entropy of the edges' softmax, over that of a uniform one: 1 undecided, 0 decided."""
        p = self.softmax(self.alpha.detach())
        entropy = -(p * p.clamp_min(1e-12).log()).sum(-1) / self.valid.sum(-1).float().log()
        return float(entropy.mean())


STRATEGIES: dict[str, type[Strategy]] = {}


def register_strategy(name: str) -> Callable[[type[Strategy]], type[Strategy]]:
    """Make a class available as `--strategy NAME`; ValueError if the name is taken."""

    def register(strategy: type[Strategy]) -> type[Strategy]:
        if name in STRATEGIES:
            raise ValueError(f"strategy {name!r} is already registered")
        STRATEGIES[name] = strategy
        return strategy

    return register
