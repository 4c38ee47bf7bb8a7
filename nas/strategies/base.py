"""What a strategy must provide."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from genotypes import Genotype, UserError
from nas.network import Mixture, Network, build

__all__ = ["STRATEGIES", "Loss", "Strategy", "StrategyConfig", "derivable", "register_strategy"]

# The loss of one batch, given the open edges' mixture and, by name, the network's parameters.
Loss = Callable[[Mixture, dict[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class StrategyConfig:
    """How architecture parameters are updated and read, and what single strategies need.

    Attributes:
        lr: learning rate of the architecture parameters (Adam).
        weight_decay: coupled decay of the architecture parameters; pulls the softmax towards uniform. Not for drnas.
        radius: finite-difference step of darts_2nd, over the norm of the gradient.
        exclude_none: derive no `none` where an edge has another candidate.
        partial: pc_darts and progressive drnas compute 1/partial of an edge's channels.
        temperature: gdas' softmax temperature in the first and in the last step.
        probes: candidates of an edge that gdas' architecture steps compute beside the sampled one.
        anchor: weight of drnas' divergence from the uniform Dirichlet distribution.
        progressive: drnas halves candidates and `partial` after half of the steps.
        score: how optuna scores a genotype, with weights inherited from a supernet or by a short training of its own.
    """

    lr: float = 6e-3
    weight_decay: float = 1e-3
    radius: float = 0.01
    exclude_none: bool = False
    partial: int = 4
    temperature: tuple[float, float] = (10.0, 0.1)
    probes: int = 1
    anchor: float = 1e-3
    progressive: bool = False
    score: Literal["inherited", "training"] = "training"

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.weight_decay < 0 or self.radius <= 0 or self.anchor < 0:
            raise UserError("strategy: lr and radius must be positive, weight_decay and anchor not negative")
        if self.partial < 1:
            raise UserError(f"strategy: partial must be at least 1, not {self.partial}")
        if self.probes < 0:
            raise UserError(f"strategy: probes must be at least 0, not {self.probes}")
        if min(self.temperature) <= 0:
            raise UserError(f"strategy: temperature must be positive, not {list(self.temperature)}")


def derivable(open_edges: Mapping[str, Sequence[str]], cfg: StrategyConfig) -> dict[str, tuple[str, ...]]:
    """Edge -> the candidates that may be derived: not `none` with `exclude_none`, where an edge has another."""
    excluded = {"none"} if cfg.exclude_none else set()
    return {edge: tuple(op for op in ops if op not in excluded) or tuple(ops) for edge, ops in open_edges.items()}


class Strategy(ABC):
    """Chooses an operation for every open edge of a supernet.

    The search loop asks, at each step, for the `mixture` of the weight update and then, once warm, for an
    `architecture_step`. What it finds is `choices`, or, where a strategy names a `sampler`, the best trial of an Optuna
    study of genotypes, each scored with the supernet's weights. Everything else is shared.

    net: the supernet; seed: of all that the strategy draws; steps: the weight steps there will be.
    """

    learns = True  # False: the supernet need not be trained at all
    sampler: str | None = None  # "evolution", "tpe", ...: which genotypes to try, see nas.trials

    def __init__(self, net: Network, cfg: StrategyConfig, *, seed: int = 0, steps: int = 1) -> None:
        self.net, self.cfg, self.seed, self.steps = net, cfg, seed, steps

    @classmethod
    def supernet(cls, space: Genotype, cfg: StrategyConfig, weights: str | None = None) -> Network:
        """The supernet that the strategy works on; weights: file with the backbone's."""
        return build(space, weights)

    @abstractmethod
    def mixture(self, step: int) -> Mixture:
        """How much each candidate counts in step `step`, and which are computed; no gradient."""

    @abstractmethod
    def choices(self) -> dict[str, str] | None:
        """The operation of every open edge, as it would be derived now; None before the trials that will tell."""

    def architecture_step(self, step: int, train: Loss, valid: Loss, lr: float) -> float:
        """Improve the architecture on `valid`; `train` and `lr` are those of the weights' next step. The valid loss."""
        return float("nan")

    def prepare(self, step: int) -> bool:
        """Change `self.net` before step `step`; True if it has other parameters now."""
        return False

    def evaluated(self) -> Mixture:
        """What is scored while the search runs: the derived genotype's path, unless a mixture was trained."""
        return self.net.path(self.choices())

    def probabilities(self) -> dict[str, dict[str, float]]:
        """Edge -> candidate -> probability: for logs and drawings."""
        return self.by_edge(self.evaluated().weights)

    def by_edge(self, rows: torch.Tensor) -> dict[str, dict[str, float]]:
        """[open edges, most candidates] as edge -> candidate -> number, without the padding."""
        edges = self.net.open_edges.items()
        return {edge: dict(zip(ops, row, strict=False)) for (edge, ops), row in zip(edges, rows.tolist(), strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """All that changes during a search: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - a strategy without state is fine
        """Continue from `state_dict()`."""


STRATEGIES: dict[str, type[Strategy]] = {}


def register_strategy(name: str) -> Callable[[type[Strategy]], type[Strategy]]:
    """Make a class available as `--strategy NAME`; ValueError if the name is taken."""

    def register(strategy: type[Strategy]) -> type[Strategy]:
        if name in STRATEGIES:
            raise ValueError(f"strategy {name!r} is already registered")
        STRATEGIES[name] = strategy
        return strategy

    return register
