"""The guard against collapse: notices a differentiable search that runs into degenerate genotypes, and stops it.

`dominant_eigenvalue`: how sharply the held-out loss bends in the architecture parameters, the sign of a collapse to
come. `CollapseGuard`: when a search has collapsed, and which genotype was still good; numbers in, a verdict out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from genotypes.errors import UserError, check_least

__all__ = ["CollapseGuard", "GuardConfig", "Stop", "dominant_eigenvalue"]

_FLAT = 1e-6  # averages of curvature below this are rounding of a loss of about 1: their ratio says nothing


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """When a search counts as collapsed: it stops and returns the last good genotype.

    Attributes:
        on: a collapse does not stop the search, and no eigenvalues are measured.
        share: largest share of `trivial` operations among the derived edges.
        patience: evaluations in a row that must exceed `share`.
        trivial: operations that a collapsed search fills its edges with.
        ratio: the average eigenvalue of `window` evaluations ago, over the present one, must not fall below this while
            the held-out loss does not fall either.
        window: evaluations that an average covers, and between the two averages; at most half of those that a search
            has after its warm-up, so that the rule can speak before it ends.
        iterations: products with the Hessian for an eigenvalue, each about 1.2 architecture steps; 0: no eigenvalues.
        images: held-out images whose loss is differentiated, the same ones every time.
    """

    on: bool = True
    share: float = 0.8
    patience: int = 2
    trivial: tuple[str, ...] = ("skip_connect", "none")
    ratio: float = 0.75
    window: int = 5
    iterations: int = 7
    images: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 < self.ratio < 1:
            raise UserError(f"guard: share must be in (0, 1], ratio in (0, 1); got {self.share}, {self.ratio}")
        check_least(self, "guard: ", patience=1, window=1, iterations=0, images=2)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """reason: why, in a sentence; step, choices: when the last good genotype was derived, and its operations."""

    reason: str
    step: int
    choices: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Seen:
    step: int
    choices: dict[str, str]
    eigenvalue: float
    loss: float


class CollapseGuard:
    """Watches the evaluations of a search, from the first one after which the architecture has moved.

    Two rules, and whichever speaks first:

    - RobustDARTS (Zela et al., ICLR 2020, section 4.3): with the average over the last `window` eigenvalues, stop when
      the average of `window` evaluations ago, over the present one, is below `ratio`; good is the genotype derived
      `window` evaluations ago. It needs twice `window` evaluations before it can say anything. Our addition: as long as
      the average held-out loss falls, it is silent. A search of a few hundred steps, unlike one of 50 epochs, is still
      learning to see when it ends, and in a healthy one the curvature grows with the contrast of its maps.
    - Derived edges hold too much of nothing: stop when the share of `trivial` operations exceeds its limit `patience`
      times in a row; good is the last genotype within the limit. A search that was never within it has nothing to go
      back to, and is not stopped: chance puts small spaces there. Edges whose candidates leave no alternative do not
      count.

    candidates: edge -> its candidates, as `genotype.open_edges()`. evaluations: how many there will be; None: enough.
    """

    def __init__(
        self, cfg: GuardConfig, candidates: Mapping[str, Sequence[str]], evaluations: int | None = None
    ) -> None:
        self.cfg = cfg
        self.window = cfg.window if evaluations is None else max(1, min(cfg.window, evaluations // 2))
        self._edges = [edge for edge, ops in candidates.items() if set(ops) - set(cfg.trivial)]
        self._measured: list[_Seen] = []  # the last 2 * window evaluations with a finite eigenvalue
        self._good: _Seen | None = None
        self._exceeded = 0

    def observe(
        self,
        step: int,
        choices: Mapping[str, str],
        entropy: float = math.nan,
        eigenvalue: float = math.nan,
        loss: float = math.nan,
    ) -> Stop | None:
        """Take in an evaluation; a Stop if the search has collapsed.

        entropy: of the softmax, 1 undecided to 0 decided, for the reason's sentence; NaN: there is none.
        eigenvalue: the dominant one; one that is not finite counts as not measured, and the window closes over it.
        loss: on the held-out part; NaN: not known, then the eigenvalue decides alone.
        """
        seen = _Seen(step=step, choices=dict(choices), eigenvalue=float(eigenvalue), loss=float(loss))
        stop = self._judge_share(seen) or self._judge_eigenvalue(seen)
        if stop is None or not self.cfg.on:
            return None
        decided = "" if math.isnan(entropy) else f"; the edges' softmax entropy was {entropy:.2f}"
        reason = f"collapse at step {step}: {stop.reason}{decided}; back to the genotype of step {stop.step}"
        return Stop(reason=reason, step=stop.step, choices=stop.choices)

    def share(self, choices: Mapping[str, str]) -> float:
        """The share that is limited: of `trivial` operations together, among the edges that have an alternative."""
        trivial = sum(choices[edge] in self.cfg.trivial for edge in self._edges)
        return trivial / max(1, len(self._edges))

    def _judge_share(self, seen: _Seen) -> Stop | None:
        share = self.share(seen.choices)
        if share <= self.cfg.share:
            self._good, self._exceeded = seen, 0
            return None
        self._exceeded += 1
        if self._good is None or self._exceeded < self.cfg.patience:
            return None
        names = " or ".join(self.cfg.trivial)
        often = f"{self._exceeded} evaluations in a row" if self._exceeded > 1 else "this evaluation"
        reason = f"{share:.0%} of the derived edges are {names}, above the limit of {self.cfg.share:.0%} for {often}"
        return Stop(reason=reason, step=self._good.step, choices=self._good.choices)

    def _judge_eigenvalue(self, seen: _Seen) -> Stop | None:
        if not math.isfinite(seen.eigenvalue):
            return None
        k = self.window
        self._measured = [*self._measured, seen][-2 * k :]
        if len(self._measured) < 2 * k:
            return None
        windows = self._measured[:k], self._measured[k:]
        before, now = (sum(old.eigenvalue for old in window) / k for window in windows)
        loss_before, loss_now = (sum(old.loss for old in window) / k for window in windows)
        if min(before, now) < _FLAT or before / now >= self.cfg.ratio or loss_now < loss_before:
            return None
        good = self._measured[k - 1]
        reason = (
            f"the dominant eigenvalue of the held-out loss rose from {before:.3g} to {now:.3g} (averages of {k} "
            f"evaluations, {k} apart; their ratio {before / now:.2f} is below {self.cfg.ratio})"
        )
        if not math.isnan(loss_now - loss_before):
            reason += f" while that loss went from {loss_before:.3f} to {loss_now:.3f}"
        return Stop(reason=reason, step=good.step, choices=good.choices)

    def state_dict(self) -> dict[str, Any]:
        """All that was seen and still matters, as plain values."""
        return {
            "measured": [asdict(seen) for seen in self._measured],
            "good": None if self._good is None else asdict(self._good),
            "exceeded": self._exceeded,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self._measured = [_Seen(**seen) for seen in state["measured"]]
        self._good = None if state["good"] is None else _Seen(**state["good"])
        self._exceeded = state["exceeded"]


def dominant_eigenvalue(
    loss: Callable[[Tensor], Tensor],
    alpha: Tensor,
    *,
    generator: torch.Generator,
    iterations: int = GuardConfig.iterations,
) -> float:
    """The largest eigenvalue of the Hessian of `loss` at `alpha` (Zela et al., RobustDARTS, ICLR 2020, section 4).

    Lanczos iteration: `iterations` exact products of the Hessian with a vector, each a backward pass through the
    gradient's own graph; there is one forward pass. (Differences of gradients would be useless here: across a step of
    any useful length thousands of ReLUs switch, and their jumps are larger than the curvature.) More iterations can
    only raise the value, up to the exact one.

    loss: architecture parameters -> scalar. It must give the same value each time it is called with the same alpha, and
        should hold the network's parameters as constants (detached), which saves half the work.
    alpha: float[E, O]; it is only read.
    generator: a CPU generator, for the first vector.
    iterations: products, at least 1; as many as there are entries, or more, give the exact value.

    Returns NaN if the loss or its curvature is not finite, 0 if the loss is linear in alpha. A softmax of alpha does
    not change when a constant is added to a row, so the value is never negative then (but for rounding).
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, not {iterations}")
    alpha = alpha.detach().clone().requires_grad_()
    with torch.enable_grad():
        value = loss(alpha)
        (gradient,) = torch.autograd.grad(value, alpha, create_graph=True)
    if not gradient.requires_grad:
        return 0.0

    def product(vector: Tensor) -> Tensor:
        """float64[E * O] on the CPU -> Hessian times it, alike."""
        (result,) = torch.autograd.grad(gradient, alpha, vector.to(alpha).view_as(alpha), retain_graph=True)
        return result.flatten().double().cpu()

    first = torch.randn(alpha.numel(), generator=generator, dtype=torch.float64)
    return _largest_ritz_value(product, first, iterations)


def _largest_ritz_value(product: Callable[[Tensor], Tensor], first: Tensor, iterations: int) -> float:
    """The largest eigenvalue of a symmetric map, restricted to the Krylov space that starts at `first`."""
    basis: list[Tensor] = []
    images: list[Tensor] = []
    vector = first
    while len(basis) < min(iterations, len(first)):
        # Twice is enough to be orthogonal to rounding; without it, found directions come back as false copies.
        length = vector.norm()
        for _ in range(2):
            for known in basis:
                vector = vector - known.dot(vector) * known
        if vector.norm() <= 1e-7 * length or length == 0:
            break  # the space is closed under the map: nothing is left to find
        basis.append(vector / vector.norm())
        images.append(product(basis[-1]))
        if not torch.isfinite(images[-1]).all():
            return math.nan
        vector = images[-1]
    projected = torch.stack(basis) @ torch.stack(images).T
    return float(torch.linalg.eigvalsh((projected + projected.T) / 2)[-1])
