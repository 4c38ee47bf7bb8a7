"""What a strategy must provide, its options, and the register of strategies."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from typing import Any, ClassVar, TypeVar

import torch

from genotypes import Genotype, Record, Registry, UserError
from nas.network import Mixture, Network, build
from nas.task import SEEDS_APART, generator

__all__ = [
    "STRATEGIES",
    "Loss",
    "Rate",
    "Strategy",
    "derivable",
    "member_choices",
    "random_choices",
    "register_strategy",
    "strategy_config",
]

# The loss of one batch, given the open edges' mixture and, by name, the network's parameters.
Loss = Callable[[Mixture, dict[str, torch.Tensor]], torch.Tensor]
Rate = float | torch.Tensor  # a tensor where a step may be captured in a graph


def derivable(choices: Mapping[str, Sequence[Any]], cfg: "Strategy.Config") -> dict[str, tuple[Any, ...]]:
    """Choice -> the candidates that may be derived: not `none` with `exclude_none`; an open edge always has another."""
    excluded = {"none"} if cfg.exclude_none else set()
    return {choice: tuple(taken for taken in found if taken not in excluded) for choice, found in choices.items()}


def random_choices(
    among: Mapping[str, Sequence[Any]],
    seed: int,
    accept: Callable[[dict[str, Any]], bool] = lambda choices: True,
) -> dict[str, Any]:
    """One candidate for every choice (id -> candidates), all alike likely: a function of these and the seed alone.

    accept: drawn again until it is true, as for `space.reaches_image`.
    """
    for attempt in itertools.count():
        draw = generator(seed, "random genotype", attempt)
        choices = {
            choice: candidates[int(torch.randint(len(candidates), (), generator=draw))]
            for choice, candidates in among.items()
        }
        if accept(choices):
            break
    return choices


def member_choices(space: Genotype, seed: int, number: int) -> dict[str, Any]:
    """Random member number `number` of a space: all of its choices, a function of (seed, number)."""
    return random_choices(space.choices(), seed * SEEDS_APART + number, space.reaches_image)


class Strategy(ABC):
    """Chooses an operation for every open edge of a supernet, and a width where one is open.

    The search loop asks, at each step, for the `mixture` of the weight update and then, once warm, for an
    `architecture_step`. What it finds is `choices`, or, where a strategy names a `sampler`, the best trial of an Optuna
    study of genotypes, each scored with the supernet's weights. Everything else is shared.

    net: the supernet; cfg: its own options; seed: of all that the strategy draws; steps: how many weight steps.

    A strategy's options are the fields of its `Config`, a frozen dataclass derived from the base's. Each registered
    strategy has one of its own: it says which strategy is meant, and builds it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of a strategy.

        Attributes:
            exclude_none: derive no `none`.
        """

        name: ClassVar[str]
        owner: ClassVar[type["Strategy"]]

        exclude_none: bool = False

        @property
        def learns(self) -> bool:
            """Whether a supernet is trained."""
            return self.owner.learns

        def build(self, net: Network, *, seed: int, steps: int) -> "Strategy":
            return self.owner(net, self, seed=seed, steps=steps)

        @property
        def decides_widths(self) -> bool:
            """Whether the strategy can decide widths that its supernet mixes by masks (`nas.network.widths`)."""
            return True

        def supernet(self, space: Genotype, weights: str | None = None) -> Network:
            """The supernet that the strategy works on; weights: file with the backbone's."""
            return build(space, weights)

    learns = True  # False: the supernet need not be trained at all
    whole_networks = False  # True: it decides choices of every kind, see nas.search.members
    sampler: str | None = None  # "evolution", "tpe", ...: which genotypes to try, see nas.trials

    def __init__(self, net: Network, cfg: Config, *, seed: int = 0, steps: int = 1) -> None:
        self.net, self.cfg, self.seed, self.steps = net, cfg, seed, steps

    @abstractmethod
    def mixture(self, step: int) -> Mixture:
        """How much each candidate counts in step `step`, and which are computed; no gradient."""

    @abstractmethod
    def choices(self) -> dict[str, Any] | None:
        """The candidate of every choice, as it would be derived now; None before the trials that will tell."""

    def architecture_step(self, step: int, train: Loss, valid: Loss, lr: Rate) -> torch.Tensor | float | None:
        """Improve the architecture on `valid`; `train` and `lr` are those of the weights' next step.

        Returns the valid loss (a tensor, so that nobody waits for the device), or None where nothing was computed.
        """
        return None

    def prepare(self, step: int) -> bool:
        """The host's part of step `step`, such as a change of `self.net`; True if that has other parameters now."""
        return False

    def fixed(self, step: int) -> Hashable | None:
        """A key for what `mixture` and `architecture_step` compute, tensors' values aside; None: like no other step.

        Steps with equal keys are captured in one graph (`nas.training.capture`), in which no Python runs: `prepare`
        must write whatever differs from step to step into tensors. Called after `prepare`.
        """
        return None

    def generators(self) -> Sequence[torch.Generator]:
        """What `mixture` and `architecture_step` draw from on the device; seeded by `prepare`."""
        return ()

    def evaluated(self) -> Mixture:
        """What is scored while the search runs: the derived genotype's path, unless a mixture was trained.

        Raises UserError where `choices` has none and the class does not say what is scored instead.
        """
        choices = self.choices()
        if choices is None:
            raise UserError(f"the strategy {type(self).__name__} has no choices while it runs: it needs evaluated()")
        return self.net.path(choices)

    def probabilities(self) -> dict[str, dict[Any, float]]:
        """Choice -> candidate -> probability: for logs and drawings."""
        return self.by_choice(self.evaluated().weights)

    def reaching(self, choices: dict[str, Any]) -> dict[str, Any]:
        """These choices; where they would cut the image off, changed on the edges where that is least improbable."""
        space = self.net.genotype
        if space.reaches_image(choices):
            return choices
        likely, rows = derivable(self.net.open_edges, self.cfg), self.probabilities()
        prices = {edge: {op: -math.log(max(rows[edge][op], 1e-30)) for op in ops} for edge, ops in likely.items()}
        return space.graph.reconnect(choices, prices)[0]

    def trained(self) -> Mapping[str, tuple[Any, ...]]:
        """Choice -> the candidates that were trained to the end: beside them no genotype of others can be scored."""
        return self.net.choices

    def by_choice(self, rows: torch.Tensor) -> dict[str, dict[Any, float]]:
        """[choices, most candidates] as choice -> candidate -> number, without the padding."""
        choices = self.net.choices.items()
        return {
            choice: dict(zip(found, row, strict=False))
            for (choice, found), row in zip(choices, rows.tolist(), strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        """All that changes during a search: tensors and plain values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 - a strategy without state is fine
        """Continue from `state_dict()`."""


STRATEGIES = Registry("strategy", Record)
_Class = TypeVar("_Class", bound=type[Strategy])


def register_strategy(name: str) -> Callable[[_Class], _Class]:
    """Make a class available as `--strategy NAME`; UserError if the name is taken."""

    def register(strategy: _Class) -> _Class:
        if "Config" not in vars(strategy):  # without options beyond its base's
            config = make_dataclass("Config", [], bases=(strategy.Config,), frozen=True, kw_only=True)
            config.__module__, config.__qualname__ = strategy.__module__, f"{strategy.__qualname__}.Config"
            strategy.Config = config  # type: ignore[assignment, misc]  # made as a class statement would
        STRATEGIES.register(name)(strategy)
        strategy.Config.name, strategy.Config.owner = name, strategy
        return strategy

    return register


def strategy_config(name: str) -> Strategy.Config:
    """The default options of the strategy of that name; UserError, listing the names, if there is none."""
    return STRATEGIES[name].load().Config()
