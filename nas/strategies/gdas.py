"""GDAS: one sampled operation an edge, with gradients through Gumbel-softmax (Dong and Yang, CVPR 2019)."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genotypes import UserError
from genotypes.errors import check_least
from nas.network import Mixture, Network
from nas.strategies.darts import Differentiable
from nas.strategies.strategy import register_strategy
from nas.task import generator

__all__ = ["Gdas"]


class _Path(NamedTuple):
    """What is drawn for a stream: -log of exponential noise is Gumbel's; the path's weights; what is computed."""

    noise: Tensor
    hard: Tensor
    active: list[list[int]]


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

    With `redraw` noise and path stay for so many steps, as alpha was at the first of them; the soft weights behind the
    path's gradient go on following alpha and the temperature.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Differentiable.Config):
        """Options of gdas.

        Attributes:
            temperature: of the softmax in the first and in the last step.
            probes: candidates of an edge that architecture steps compute beside the sampled one.
            redraw: so many steps in a row share one draw; on a GPU all but the first are captured: more are faster.
        """

        temperature: tuple[float, float] = (10.0, 0.1)
        probes: int = 1
        redraw: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            check_least(self, "strategy: ", redraw=1)
            if self.probes < 0 or min(self.temperature) <= 0:
                raise UserError(
                    "strategy: probes must be at least 0 and temperature positive, "
                    f"not {self.probes} and {list(self.temperature)}"
                )

    cfg: Config

    def __init__(self, net: Network, cfg: Config, *, seed: int = 0, steps: int = 1) -> None:
        super().__init__(net, cfg, seed=seed, steps=steps)
        self._kept: dict[str, _Path] = {}  # stream -> its path, where a captured step reads it
        self._temperature = torch.zeros((), device=self.alpha.device)  # of a step whose path is kept

    def prepare(self, step: int) -> bool:
        if self.cfg.redraw > 1:
            self._temperature.fill_(self._cooled(step))
            if step % self.cfg.redraw == 0:
                for stream in ("weights", "architecture"):
                    path = self._draw(self.alpha.detach(), step, stream)
                    if old := self._kept.get(stream):
                        path = _Path(old.noise.copy_(path.noise), old.hard.copy_(path.hard), path.active)
                    self._kept[stream] = path
        return False

    def fixed(self, step: int) -> Hashable | None:
        return tuple(tuple(map(tuple, path.active)) for path in self._kept.values()) or None

    def relax(self, alpha: Tensor, step: int, stream: str) -> Mixture:
        path = self._kept.get(stream) or self._draw(alpha, step, stream)
        temperature = self._temperature if self._kept else self._cooled(step)
        soft = ((self.parameters.logits(alpha) - path.noise) / temperature).softmax(-1)
        return Mixture(path.hard + soft - soft.detach(), path.active)

    def _cooled(self, step: int) -> float:
        first, last = self.cfg.temperature
        return first + (last - first) * min(1.0, step / self.steps)

    def _draw(self, alpha: Tensor, step: int, stream: str) -> _Path:
        draw = generator(self.seed, f"gumbel/{stream}", step - step % self.cfg.redraw)
        noise = torch.empty(alpha.shape).exponential_(generator=draw).clamp_min(1e-20).log().to(alpha)
        computed = 1 + self.cfg.probes if stream == "architecture" else 1
        logits = self.parameters.logits(alpha.detach()) - noise
        order = logits.argsort(-1, descending=True)[:, :computed]  # a choice's missing candidates come last
        hard = torch.zeros_like(noise).scatter_(-1, order[:, :1], 1.0)
        # One transfer to the host for all edges: it must know which modules to run. Widths are masks: they run none.
        edges = order[: len(self.net.open_edges)].tolist()
        return _Path(noise, hard, [row[:count] for row, count in zip(edges, self.parameters.counts, strict=False)])

    def state_dict(self) -> dict[str, Any]:
        """With the paths that stay: alpha has moved since they were drawn."""
        kept = {stream: (path.noise.clone(), path.hard.clone(), path.active) for stream, path in self._kept.items()}
        return super().state_dict() | {"kept": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._kept = {
            name: _Path(noise.to(self.alpha), hard.to(self.alpha), active)
            for name, (noise, hard, active) in state["kept"].items()
        }

    def evaluated(self) -> Mixture:
        return self.net.path(self.choices())
