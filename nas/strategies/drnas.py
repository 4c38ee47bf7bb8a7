"""DrNAS: Dirichlet neural architecture search (Chen et al., ICLR 2021)."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from genotypes import Genotype
from genotypes.errors import check_least
from nas.network import Mixture, Network, build
from nas.network.member import widen_share
from nas.run import seeded
from nas.strategies.darts import Differentiable
from nas.strategies.strategy import register_strategy
from nas.task import generator

__all__ = ["DirichletSearch"]


@register_strategy("drnas")
class DirichletSearch(Differentiable):
    """An edge's weights are a draw from Dirichlet(elu(alpha) + 1), differentiated through the draw (section 3.1).

    A divergence from the uniform distribution, times `anchor`, keeps the draws diverse (section 3.2); it takes the
    place of weight decay. With `progressive` (section 3.3) the first half of the search computes 1/k of the channels
    with all candidates, the second 2/k with the better half of each edge's candidates.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Differentiable.Config):
        """Options of drnas.

        Attributes:
            weight_decay: coupled decay of the architecture parameters; the anchor takes its place.
            anchor: weight of the divergence from the uniform Dirichlet distribution.
            progressive: halve candidates and `partial` after half of the steps. Random rivals then are of the half that
                stays: the others' weights are half-trained.
            partial: with progressive, 1/partial of an edge's channels is computed at first.
        """

        weight_decay: float = 0.0
        anchor: float = 1e-3
        progressive: bool = False
        partial: int = 4

        def __post_init__(self) -> None:
            super().__post_init__()
            check_least(self, "strategy: ", partial=1, anchor=0)

        @property
        def decides_widths(self) -> bool:
            """Not on a part of the channels, which are shuffled after each edge: no mask finds them again."""
            return not self.progressive

        def supernet(self, space: Genotype, weights: str | None = None) -> Network:
            return build(space, weights, share=self.partial if self.progressive else 1)

    cfg: Config

    def fixed(self, step: int) -> Hashable | None:
        return ()

    def __init__(self, net: Network, cfg: Config, *, seed: int = 0, steps: int = 1) -> None:
        super().__init__(net, cfg, seed=seed, steps=steps)
        # The draws depend on alpha, so they are made on its device: another kind of device draws other numbers.
        self._random = {stream: torch.Generator(self.alpha.device) for stream in ("weights", "architecture")}
        self.pruned = False
        self.active: list[list[int]] | None = None  # what is computed after pruning

    def concentration(self, alpha: torch.Tensor) -> torch.Tensor:
        """Of the Dirichlet distributions, all ones at alpha = 0: [open edges, most candidates], > 0."""
        return F.elu(alpha) + 1 + 1e-4  # a concentration of 0 has no distribution

    def expected(self, alpha: torch.Tensor) -> torch.Tensor:
        mean = self.concentration(alpha).masked_fill(~self.parameters.valid, 0.0)
        return mean / mean.sum(-1, keepdim=True)

    def relax(self, alpha: torch.Tensor, step: int, stream: str) -> Mixture:
        # Normalised Gamma draws are a Dirichlet draw, also where edges differ in their number of candidates.
        self._seed(step, stream)
        draw = torch._standard_gamma(self.concentration(alpha), self._random[stream])
        draw = draw.clamp_min(1e-10).masked_fill(~self.parameters.valid, 0.0)
        return Mixture(draw / draw.sum(-1, keepdim=True), self.active)

    def _seed(self, step: int, stream: str) -> None:
        """Draws are a function of seed, stream and step; those of a graph are seeded from outside, by `prepare`."""
        if self.alpha.is_cuda and torch.cuda.is_current_stream_capturing():
            return
        self._random[stream].manual_seed(generator(self.seed, f"dirichlet/{stream}", step).initial_seed())

    def generators(self) -> Sequence[torch.Generator]:
        return list(self._random.values())

    def penalty(self, alpha: torch.Tensor) -> torch.Tensor:
        """anchor * mean over the edges of KL(Dirichlet(concentration) || Dirichlet(1))."""
        c, valid = self.concentration(alpha), self.parameters.valid
        total, n = c.masked_fill(~valid, 0.0).sum(-1, keepdim=True), valid.sum(-1).to(c)
        terms = (c - 1) * (c.digamma() - total.digamma()) - c.lgamma()
        divergence = total.squeeze(-1).lgamma() - n.lgamma() + terms.masked_fill(~valid, 0.0).sum(-1)
        return self.cfg.anchor * divergence.mean()

    def mean(self, alpha: torch.Tensor) -> Mixture:
        return Mixture(self.expected(alpha), self.active)

    def prepare(self, step: int) -> bool:
        for stream in self._random:
            self._seed(step, stream)
        if not self.cfg.progressive or self.pruned or 2 * step < self.steps:
            return False
        self._prune()
        with seeded(generator(self.seed, "grow", 0).initial_seed()):
            self.net = widen_share(self.net, self._grown_share())
        return True

    def _prune(self) -> None:
        """Of every edge's candidates only the better half, rounded up, stays; what would be derived is of that half."""
        valid, logits = self.parameters.valid, self.parameters.logits(self.alpha.detach())
        derived = self.net.path(self.reaching(self.choices())).weights  # not the best where that is `none`, say
        rank = logits.masked_fill(derived > 0, torch.inf).argsort(-1, descending=True).argsort(-1)
        valid &= rank < (valid.sum(-1, keepdim=True) + 1) // 2
        self._note_pruned()

    def trained(self) -> Mapping[str, tuple[Any, ...]]:
        if self.active is None:
            return self.net.choices
        choices = zip(self.net.choices.items(), self.active, strict=True)
        return {choice: tuple(found[i] for i in kept) for (choice, found), kept in choices}

    def _note_pruned(self) -> None:
        self.pruned = True
        self.active = [row.nonzero().flatten().tolist() for row in self.parameters.valid.cpu()]

    def _grown_share(self) -> int:
        """`partial` without its smallest prime factor: a factor of it, so that no edge computes fewer channels."""
        smallest = next((p for p in range(2, self.cfg.partial + 1) if self.cfg.partial % p == 0), 1)
        return self.cfg.partial // smallest

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"pruned": self.pruned, "valid": self.parameters.valid.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.parameters.valid.copy_(state["valid"])
        if state["pruned"]:  # its weights come with the checkpoint
            self._note_pruned()
            self.net = widen_share(self.net, self._grown_share())
