"""Strategies: how the open edges of a supernet are closed. One a file, each citing its paper."""

from nas.strategies.base import STRATEGIES, ArchitectureParameters, Strategy, StrategyConfig, register_strategy
from nas.strategies.darts import Darts, SecondOrderDarts
from nas.strategies.random_choice import RandomChoice, random_choices

__all__ = [
    "STRATEGIES",
    "ArchitectureParameters",
    "Darts",
    "RandomChoice",
    "SecondOrderDarts",
    "Strategy",
    "StrategyConfig",
    "random_choices",
    "register_strategy",
]
