"""Strategies: how the open edges of a supernet are closed; each cites its paper and owns its options."""

from nas.strategies.black_box import BlackBox, OneShot, RandomChoice
from nas.strategies.darts import ArchitectureParameters, Darts, Differentiable, SecondOrderDarts
from nas.strategies.drnas import DirichletSearch
from nas.strategies.gdas import Gdas
from nas.strategies.pc_darts import PartialDarts
from nas.strategies.sandwich import SandwichSearch
from nas.strategies.strategy import (
    STRATEGIES,
    Loss,
    Rate,
    Strategy,
    derivable,
    member_choices,
    random_choices,
    register_strategy,
    strategy_config,
)

__all__ = [
    "STRATEGIES",
    "ArchitectureParameters",
    "BlackBox",
    "Darts",
    "Differentiable",
    "DirichletSearch",
    "Gdas",
    "Loss",
    "OneShot",
    "PartialDarts",
    "RandomChoice",
    "Rate",
    "SandwichSearch",
    "SecondOrderDarts",
    "Strategy",
    "derivable",
    "member_choices",
    "random_choices",
    "register_strategy",
    "strategy_config",
]
