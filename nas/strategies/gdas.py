"""GDAS: one sampled operation an edge, with gradients through Gumbel-softmax (Dong and Yang, CVPR 2019)."""

from dataclasses import dataclass

import torch

from genotypes import UserError
from nas.network import Mixture
from nas.strategies.darts import Differentiable
from nas.strategies.strategy import register_strategy
from nas.task import generator

__all__ = ["Gdas"]


@register_strategy("gdas")
class Gdas(Differentiable):
    """Each step computes one path through the supernet, drawn by softmax(alpha); its weights are one, straight-through.

    Forward, an edge is its sampled operation. Backward, that operation's weight is the Gumbel-softmax (eq. 4), which
    depends on all of the edge's alphas; what was not computed gives no gradient (section 3.2). The temperature falls
    linearly over the search: 10 to 0.1, as in the authors' code.

    `probes` is ours. The slope of the loss in a path's own weights only says whether an operation should be louder, and
    where a norm follows it is zero (benchmarks/gdas_signal.py). So architecture steps also compute `probes` other
    candidates of each edge, with weight zero: the path and its loss stay what they are, and the slopes of those weights
    say what they would change. They are the next in the order of the sampled path's noise, which draws without
    replacement (Kool et al., ICML 2019). Weight steps compute the path alone, and `probes: 0` is the paper's method.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Differentiable.Config):
        """Options of gdas.

        Attributes:
            temperature: of the softmax in the first and in the last step.
            probes: candidates of an edge that architecture steps compute beside the sampled one.
        """

        temperature: tuple[float, float] = (10.0, 0.1)
        probes: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.probes < 0 or min(self.temperature) <= 0:
                raise UserError(
                    "strategy: probes must be at least 0 and temperature positive, "
                    f"not {self.probes} and {list(self.temperature)}"
                )

    cfg: Config

    def relax(self, alpha: torch.Tensor, step: int, stream: str) -> Mixture:
        noise = torch.empty(alpha.shape).exponential_(generator=generator(self.seed, f"gumbel/{stream}", step))
        logits = self.parameters.logits(alpha) - noise.clamp_min(1e-20).log().to(alpha)
        first, last = self.cfg.temperature
        soft = (logits / (first + (last - first) * min(1.0, step / self.steps))).softmax(-1)
        computed = 1 + self.cfg.probes if stream == "architecture" else 1
        order = logits.detach().argsort(-1, descending=True)[:, :computed]  # an edge's missing candidates come last
        hard = torch.zeros_like(soft).scatter_(-1, order[:, :1], 1.0)
        # One transfer to the host for all edges: it must know which modules to run.
        counts = self.parameters.counts
        active = [row[:count] for row, count in zip(order.tolist(), counts, strict=True)]
        return Mixture(hard + soft - soft.detach(), active)

    def evaluated(self) -> Mixture:
        return self.net.path(self.choices())
