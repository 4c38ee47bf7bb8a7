"""Genotypes tried one after another by an Optuna sampler (Akiba et al., KDD 2019): no gradient, no mixture."""

from nas.network import Network
from nas.strategies.base import StrategyConfig, register_strategy
from nas.strategies.one_shot import OneShot

__all__ = ["BlackBox"]


@register_strategy("optuna")
class BlackBox(OneShot):
    """TPE (Bergstra et al., NIPS 2011), NSGA-II (Deb et al., 2002) or another of Optuna's, over the discrete space.

    By default a genotype is scored by a short training of its own; with `score` inherited, a supernet is first trained
    on fair paths, as in one_shot, and lends its weights.
    """

    sampler = "tpe"

    def __init__(self, net: Network, cfg: StrategyConfig, *, seed: int = 0, steps: int = 1) -> None:
        super().__init__(net, cfg, seed=seed, steps=steps)
        self.learns = cfg.score == "inherited"
