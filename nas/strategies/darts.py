"""DARTS: differentiable architecture search (Liu, Simonyan and Yang, ICLR 2019)."""

from typing import Any

import torch

from nas.network import Network
from nas.strategies.base import ArchitectureParameters, Loss, Strategy, StrategyConfig, register_strategy
from nas.strategies.hypergradient import first_order, second_order

__all__ = ["Darts", "SecondOrderDarts"]


@register_strategy("darts")
class Darts(Strategy):
    """Softmax mixtures, architecture parameters by Adam on the architecture half's loss, first order."""

    def __init__(self, net: Network, cfg: StrategyConfig, seed: int) -> None:
        super().__init__(net, cfg, seed)
        self.parameters = ArchitectureParameters(net, seed).to(next(net.parameters()).device)
        # Momentum 0.5 forgets the noise of single batches sooner: the authors' setting.
        self.optimizer = torch.optim.Adam(
            [self.parameters.alpha], lr=cfg.lr, betas=(0.5, 0.999), weight_decay=cfg.weight_decay
        )

    def weights(self, step: int) -> torch.Tensor:
        return self.parameters.softmax(self.parameters.alpha.detach())

    def architecture_step(self, step: int, train: Loss, valid: Loss, lr: float) -> float:
        mix = self.parameters.softmax
        params = {name: value.detach() for name, value in self.net.named_parameters()}
        gradient, loss = self.hypergradient(
            lambda alpha, p: train(mix(alpha), p), lambda alpha, p: valid(mix(alpha), p), params, lr
        )
        self.parameters.alpha.grad = gradient
        self.optimizer.step()
        return float(loss)

    def hypergradient(self, train: Loss, valid: Loss, params: dict, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(gradient of the valid loss in alpha, the valid loss); losses are functions of (alpha, params) here."""
        return first_order(valid, self.parameters.alpha, params)

    def choices(self) -> dict[str, str]:
        p = self.weights(0)
        choices = {}
        for (edge, candidates), row in zip(self.net.open_edges.items(), p, strict=True):
            allowed = [i for i, op in enumerate(candidates) if not (self.cfg.exclude_none and op == "none")]
            choices[edge] = candidates[max(allowed, key=lambda i, row=row: float(row[i]))]
        return choices

    def state_dict(self) -> dict[str, Any]:
        return {"alpha": self.parameters.alpha.detach().clone(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.parameters.alpha.copy_(state["alpha"])
        self.optimizer.load_state_dict(state["optimizer"])


@register_strategy("darts_2nd")
class SecondOrderDarts(Darts):
    """DARTS through one virtual weight step: four passes a step instead of one, for a less biased gradient."""

    def hypergradient(self, train: Loss, valid: Loss, params: dict, lr: float) -> tuple[torch.Tensor, torch.Tensor]:
        return second_order(train, valid, self.parameters.alpha, params, lr=lr, radius=self.cfg.radius)
