"""Architecture parameters and their update: what the gradient-based strategies share (DARTS, Liu et al., ICLR 2019)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nas.network import Mixture, Network
from nas.strategies.base import Loss, Strategy, StrategyConfig, derivable
from nas.strategies.hypergradient import first_order

__all__ = ["ArchitectureParameters", "Differentiable"]


class ArchitectureParameters(nn.Module):
    """One row of logits alpha for every open edge; an edge's candidates compete by softmax (DARTS, eq. 2).

    alpha: float[open edges, most candidates]; where an edge has fewer candidates, `valid` is False.
    """

    def __init__(self, net: Network, seed: int) -> None:
        super().__init__()
        self.counts = [len(candidates) for candidates in net.open_edges.values()]
        valid = torch.arange(max(self.counts)) < torch.tensor(self.counts)[:, None]
        generator = torch.Generator().manual_seed(seed % 2**63)
        self.alpha = nn.Parameter(1e-3 * torch.randn(valid.shape, generator=generator))
        self.register_buffer("valid", valid)

    def logits(self, alpha: torch.Tensor) -> torch.Tensor:
        """alpha with minus infinity where an edge has no candidate: [open edges, most candidates]."""
        return alpha.masked_fill(~self.valid, -torch.inf)

    def softmax(self, alpha: torch.Tensor) -> torch.Tensor:
        """Probabilities of the candidates, zero where an edge has none: [open edges, most candidates]."""
        return self.logits(alpha).softmax(-1)


class Differentiable(Strategy):
    """Descends the architecture half's loss in alpha, by Adam; a strategy says how alpha becomes a mixture.

    `expected` must be given: the mean weights of the candidates. A strategy that samples overrides `relax` as well.
    """

    def __init__(self, net: Network, cfg: StrategyConfig, *, seed: int = 0, steps: int = 1) -> None:
        super().__init__(net, cfg, seed=seed, steps=steps)
        self.parameters = ArchitectureParameters(net, seed).to(next(net.parameters()).device)
        self.optimizer = self.make_optimizer([self.parameters.alpha])

    def make_optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        # Momentum 0.5 forgets the noise of single batches sooner: the setting of DARTS' authors and their followers.
        return torch.optim.Adam(parameters, lr=self.cfg.lr, betas=(0.5, 0.999), weight_decay=self.cfg.weight_decay)

    @property
    def alpha(self) -> nn.Parameter:
        """float[open edges, most candidates]."""
        return self.parameters.alpha

    def expected(self, alpha: torch.Tensor) -> torch.Tensor:
        """Probabilities of the candidates [open edges, most candidates], differentiable in alpha."""
        return self.parameters.softmax(alpha)

    def relax(self, alpha: torch.Tensor, step: int, stream: str) -> Mixture:
        """The mixture of step `step`, differentiable in alpha; what it draws depends on seed, stream and step alone."""
        return Mixture(self.expected(alpha))

    def penalty(self, alpha: torch.Tensor) -> torch.Tensor | float:
        """Added to the valid loss."""
        return 0.0

    def hypergradient(self, train: Loss, valid: Loss, params: dict, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(gradient of the valid loss in alpha, the valid loss); losses are functions of (alpha, params) here."""
        return first_order(valid, self.alpha, params)

    def mixture(self, step: int) -> Mixture:
        return self.relax(self.alpha.detach(), step, "weights")

    def architecture_step(self, step: int, train: Loss, valid: Loss, lr: float) -> float:
        params = {name: value.detach() for name, value in self.net.named_parameters()}
        gradient, loss = self.hypergradient(
            lambda alpha, p: train(self.relax(alpha, step, "weights"), p),
            lambda alpha, p: valid(self.relax(alpha, step, "architecture"), p) + self.penalty(alpha),
            params,
            lr,
        )
        self.alpha.grad = gradient
        self.optimizer.step()
        return float(loss)

    def evaluated(self) -> Mixture:
        return Mixture(self.expected(self.alpha.detach()))

    def probabilities(self) -> dict[str, dict[str, float]]:
        return self.by_edge(self.expected(self.alpha.detach()))

    def choices(self) -> dict[str, str]:
        p = self.probabilities()
        return {edge: max(ops, key=p[edge].get) for edge, ops in derivable(self.net.open_edges, self.cfg).items()}

    def state_dict(self) -> dict[str, Any]:
        return {"alpha": self.alpha.detach().clone(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self.optimizer.load_state_dict(state["optimizer"])
