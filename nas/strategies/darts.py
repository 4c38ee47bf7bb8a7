"""DARTS (Liu, Simonyan and Yang, ICLR 2019), and what all strategies that descend in architecture parameters share."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from genotypes import UserError
from genotypes.errors import check_least
from nas.network import Mixture, Network
from nas.run.graphs import capturable
from nas.strategies.strategy import Loss, Rate, Strategy, derivable, register_strategy

__all__ = [
    "ArchitectureParameters",
    "Darts",
    "Differentiable",
    "SecondOrderDarts",
    "first_order",
    "second_order",
]

Params = dict[str, torch.Tensor]
BilevelLoss = Callable[[torch.Tensor, Params], torch.Tensor]


class ArchitectureParameters(nn.Module):
    """One row of logits alpha for every choice; its candidates compete by softmax (DARTS, eq. 2).

    alpha: float[choices, most candidates], rows in the order of `Network.choices`; where one has fewer candidates,
    `valid` is False.
    """

    valid: torch.Tensor

    def __init__(self, net: Network, seed: int) -> None:
        super().__init__()
        self.counts = [len(candidates) for candidates in net.choices.values()]
        valid = torch.arange(max(self.counts)) < torch.tensor(self.counts)[:, None]
        generator = torch.Generator().manual_seed(seed % 2**63)
        self.alpha = nn.Parameter(1e-3 * torch.randn(valid.shape, generator=generator))
        self.register_buffer("valid", valid)

    def logits(self, alpha: torch.Tensor) -> torch.Tensor:
        """alpha with minus infinity where a choice has no candidate: [choices, most candidates]."""
        return alpha.masked_fill(~self.valid, -torch.inf)

    def softmax(self, alpha: torch.Tensor) -> torch.Tensor:
        """Probabilities of the candidates, zero where a choice has none: [choices, most candidates]."""
        return self.logits(alpha).softmax(-1)


class Differentiable(Strategy):
    """Descends the architecture half's loss in alpha, by Adam; a strategy says how alpha becomes a mixture.

    `expected` must be given: the mean weights of the candidates. A strategy that samples overrides `relax` as well.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Strategy.Config):
        """Options of strategies that descend in architecture parameters.

        Attributes:
            lr: learning rate of the architecture parameters (Adam).
            weight_decay: coupled decay of the architecture parameters; pulls the softmax towards uniform.
        """

        lr: float = 6e-3
        weight_decay: float = 1e-3

        def __post_init__(self) -> None:
            check_least(self, "strategy: ", weight_decay=0)
            if self.lr <= 0:
                raise UserError(f"strategy: lr must be positive, not {self.lr}")

    cfg: Config

    def __init__(self, net: Network, cfg: Config, *, seed: int = 0, steps: int = 1) -> None:
        super().__init__(net, cfg, seed=seed, steps=steps)
        self.parameters = ArchitectureParameters(net, seed).to(next(net.parameters()).device)
        self.optimizer = self.make_optimizer([self.parameters.alpha])

    def make_optimizer(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        # Momentum 0.5 forgets the noise of single batches sooner: the setting of DARTS' authors and their followers.
        captured = capturable(parameters[0].device)
        how: dict[str, bool] = {"fused": True, "capturable": True} if captured else {}
        return torch.optim.Adam(
            parameters, lr=self.cfg.lr, betas=(0.5, 0.999), weight_decay=self.cfg.weight_decay, **how
        )

    @property
    def alpha(self) -> nn.Parameter:
        """float[choices, most candidates]."""
        return self.parameters.alpha

    def expected(self, alpha: torch.Tensor) -> torch.Tensor:
        """Probabilities of the candidates [choices, most candidates], differentiable in alpha."""
        return self.parameters.softmax(alpha)

    def relax(self, alpha: torch.Tensor, step: int, stream: str) -> Mixture:
        """The mixture of step `step`, differentiable in alpha; what it draws depends on seed, stream and step alone."""
        return self.mean(alpha)

    def mean(self, alpha: torch.Tensor) -> Mixture:
        """The mixture without drawing, differentiable in alpha."""
        return Mixture(self.expected(alpha))

    def penalty(self, alpha: torch.Tensor) -> torch.Tensor | float:
        """Added to the valid loss."""
        return 0.0

    def hypergradient(
        self, train: BilevelLoss, valid: BilevelLoss, params: Params, lr: Rate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(gradient of the valid loss in alpha, the valid loss); losses are functions of (alpha, params) here."""
        return first_order(valid, self.alpha, params)

    def mixture(self, step: int) -> Mixture:
        return self.relax(self.alpha.detach(), step, "weights")

    def architecture_step(self, step: int, train: Loss, valid: Loss, lr: Rate) -> torch.Tensor:
        params = {name: value.detach() for name, value in self.net.named_parameters()}
        gradient, loss = self.hypergradient(
            lambda alpha, p: train(self.relax(alpha, step, "weights"), p),
            lambda alpha, p: valid(self.relax(alpha, step, "architecture"), p) + self.penalty(alpha),
            params,
            lr,
        )
        self.alpha.grad = gradient
        self.optimizer.step()
        return loss

    def evaluated(self) -> Mixture:
        return self.mean(self.alpha.detach())

    def probabilities(self) -> dict[str, dict[Any, float]]:
        return self.by_choice(self.expected(self.alpha.detach()))

    def choices(self) -> dict[str, Any]:
        p = self.probabilities()
        return {
            choice: max(found, key=p[choice].__getitem__)
            for choice, found in derivable(self.net.choices, self.cfg).items()
        }

    def state_dict(self) -> dict[str, Any]:
        return {"alpha": self.alpha.detach().clone(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self.optimizer.load_state_dict(state["optimizer"])


@register_strategy("darts")
class Darts(Differentiable):
    """Softmax mixtures of all candidates; first order: the weights are taken as they are."""

    def fixed(self, step: int) -> Hashable | None:
        return ()


@register_strategy("darts_2nd")
class SecondOrderDarts(Darts):
    """DARTS through one virtual weight step: four passes a step instead of one, for a less biased gradient."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Darts.Config):
        """Options of darts_2nd.

        Attributes:
            radius: finite-difference step, over the norm of the gradient.
        """

        radius: float = 0.01

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.radius <= 0:
                raise UserError(f"strategy: radius must be positive, not {self.radius}")

    cfg: Config

    def hypergradient(
        self, train: BilevelLoss, valid: BilevelLoss, params: Params, lr: Rate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return second_order(train, valid, self.alpha, params, lr=lr, radius=self.cfg.radius)


def first_order(valid: BilevelLoss, alpha: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
    """(d valid / d alpha at fixed params, the valid loss): DARTS, section 2.3.

    params carry no gradient, so none is computed for them.
    """
    alpha = alpha.detach().requires_grad_()
    loss = valid(alpha, params)
    (gradient,) = torch.autograd.grad(loss, alpha)
    return gradient, loss.detach()


def second_order(
    train: BilevelLoss, valid: BilevelLoss, alpha: torch.Tensor, params: Params, *, lr: Rate, radius: float = 0.01
) -> tuple[torch.Tensor, torch.Tensor]:
    """(the hypergradient through one virtual step of gradient descent on the weights, the valid loss after it).

    With w' = w - lr * grad_w train(alpha, w), the chain rule gives (eq. 7)

        grad_alpha valid(alpha, w') - lr * [d2 train / d alpha d w] grad_w' valid(alpha, w')

    and the product with the mixed derivative is a central difference of grad_alpha train over w +- eps * v, with
    v = grad_w' valid and eps = radius / |v| (eq. 8). All weights involved are new tensors: `params` is only read, so
    there is no model to copy and nothing to restore.
    """
    names = list(params)
    leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
    gradients = torch.autograd.grad(train(alpha.detach(), leaves), list(leaves.values()), allow_unused=True)
    step = {
        name: (value - lr * g if g is not None else value).detach().requires_grad_()
        for (name, value), g in zip(leaves.items(), gradients, strict=True)
    }
    alpha_leaf = alpha.detach().requires_grad_()
    loss = valid(alpha_leaf, step)
    outer, *vector = torch.autograd.grad(loss, [alpha_leaf, *step.values()], allow_unused=True)
    direction = {name: v for name, v in zip(names, vector, strict=True) if v is not None}
    norm = torch.stack([v.norm() for v in direction.values()]).norm()
    # At a flat valid loss nothing is probed: the second term vanishes.
    eps = radius / norm.masked_fill(~(norm > 0), 1.0)

    def probe(sign: float) -> torch.Tensor:
        moved = {n: (w + sign * eps * direction[n] if n in direction else w).detach() for n, w in params.items()}
        leaf = alpha.detach().requires_grad_()
        return torch.autograd.grad(train(leaf, moved), leaf)[0]

    return outer - lr * (probe(1.0) - probe(-1.0)) / (2 * eps), loss.detach()
