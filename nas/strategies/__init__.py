"""Strategies: how the open edges of a supernet are closed. One a file, each citing its paper."""

from nas.strategies.base import STRATEGIES, Loss, Strategy, StrategyConfig, derivable, register_strategy
from nas.strategies.black_box import BlackBox
from nas.strategies.darts import Darts, SecondOrderDarts
from nas.strategies.differentiable import ArchitectureParameters, Differentiable
from nas.strategies.drnas import DirichletSearch
from nas.strategies.gdas import Gdas
from nas.strategies.one_shot import OneShot
from nas.strategies.pc_darts import PartialDarts
from nas.strategies.random_choice import RandomChoice, random_choices

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
    "SecondOrderDarts",
    "Strategy",
    "StrategyConfig",
    "derivable",
    "random_choices",
    "register_strategy",
]
