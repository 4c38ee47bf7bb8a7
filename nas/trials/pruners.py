"""Which trials end early, by the values that they report on the way."""

from collections.abc import Callable

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from genotypes import UserError

__all__ = ["PRUNERS", "make_pruner"]

PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,  # worse than the median of the earlier trials at the same step
    "successive_halving": SuccessiveHalvingPruner,  # Li et al., MLSys 2020 (asynchronous)
    "hyperband": HyperbandPruner,  # Li et al., JMLR 2018
}


def make_pruner(name: str, *, objectives: int) -> BasePruner:
    """The pruner of that name; UserError if there is none, or for more than one objective (Optuna prunes by one)."""
    if name not in PRUNERS:
        raise UserError(f"unknown pruner {name!r}; known: {', '.join(sorted(PRUNERS))}")
    if name != "none" and objectives > 1:
        raise UserError(f"pruner {name} goes with one objective; with {objectives} it must be none")
    return PRUNERS[name]()
