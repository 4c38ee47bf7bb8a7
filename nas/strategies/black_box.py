"""Strategies without a gradient: chance, single-path one-shot search, and Optuna's samplers."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from genotypes.errors import check_least
from nas.network import Mixture, Network
from nas.strategies.strategy import Strategy, derivable, random_choices, register_strategy
from nas.task import generator

__all__ = ["BlackBox", "OneShot", "RandomChoice"]


@register_strategy("random")
class RandomChoice(Strategy):
    """Draws the genotype, untrained: the baseline beside every other (Li and Talwalkar, UAI 2019)."""

    learns = False

    def mixture(self, step: int) -> Mixture:
        return self.net.path(self.choices())

    def choices(self) -> dict[str, Any]:
        return random_choices(derivable(self.net.choices, self.cfg), self.seed, self.net.genotype.reaches_image)


@register_strategy("one_shot")
class OneShot(Strategy):
    """Trains a supernet on random single paths; evolution looks for the best one (Guo et al., ECCV 2020).

    A choice with n candidates goes through a new order of them every n steps: after each round every candidate was
    trained equally often, alone and beside random others. (FairNAS, Chu et al., ICCV 2021, gathers a round's gradients
    into one update; here each path is a step, so that a step costs what it costs elsewhere.)
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Strategy.Config):
        """Options of one_shot.

        Attributes:
            redraw: so many steps in a row share one draw; on a GPU all but the first are captured: more are faster.
        """

        redraw: int = 1

        def __post_init__(self) -> None:
            check_least(self, "strategy: ", redraw=1)

    cfg: Config
    sampler = "evolution"
    _drawn: tuple[int, Mixture] | None = None  # of a step, found before it begins

    def prepare(self, step: int) -> bool:
        path = self.net.path(self._fair_path(step))
        if self._drawn:  # written where a captured step reads it
            path = path._replace(weights=self._drawn[1].weights.copy_(path.weights))
        self._drawn = step, path
        return False

    def fixed(self, step: int) -> Hashable | None:
        if self.cfg.redraw == 1 or not self._drawn:
            return None
        return tuple(map(tuple, self._drawn[1].active or ()))

    def mixture(self, step: int) -> Mixture:
        return self._drawn[1] if self._drawn and self._drawn[0] == step else self.net.path(self._fair_path(step))

    def _fair_path(self, step: int) -> dict[str, Any]:
        path = {}
        for row, (choice, candidates) in enumerate(self.net.choices.items()):
            around, place = divmod(step // self.cfg.redraw, len(candidates))
            order = torch.randperm(len(candidates), generator=generator(self.seed, f"fair/{row}", around))
            path[choice] = candidates[int(order[place])]
        return path

    def choices(self) -> None:
        return None

    def evaluated(self) -> Mixture:
        """One path, always the same: how far its shared weights have come."""
        return self.net.path(random_choices(self.net.choices, self.seed, self.net.genotype.reaches_image))

    def probabilities(self) -> dict[str, dict[Any, float]]:
        return {choice: dict.fromkeys(found, 1 / len(found)) for choice, found in self.net.choices.items()}


@register_strategy("optuna")
class BlackBox(OneShot):
    """Tries genotypes by an Optuna sampler (Akiba et al., KDD 2019), no gradient and no mixture.

    TPE (Bergstra et al., NIPS 2011), NSGA-II (Deb et al., 2002) or another of Optuna's, over the discrete space.
    By default a genotype is scored by a short training of its own; with `score` inherited, a supernet is first trained
    on fair paths, as in one_shot, and lends its weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(OneShot.Config):
        """Options of optuna.

        Attributes:
            score: by weights inherited from a supernet, or by a short training of the genotype's own.
        """

        score: Literal["inherited", "training"] = "training"

        @property
        def learns(self) -> bool:
            return self.score == "inherited"

        def unused(self) -> dict[str, str]:
            return {} if self.learns else {"redraw": "score training trains no supernet"}

    sampler = "tpe"

    def __init__(self, net: Network, cfg: Config, *, seed: int = 0, steps: int = 1) -> None:
        super().__init__(net, cfg, seed=seed, steps=steps)
        self.learns = cfg.learns
