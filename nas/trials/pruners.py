"""Which trials end early, by the values that they report on the way."""

from collections.abc import Callable

from optuna import Study
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial

from genotypes import UserError

__all__ = ["PRUNERS", "make_pruner"]


class _Hyperband(HyperbandPruner):
    """Optuna's, but a restarted process knows the brackets before its first draw, as one that was not disturbed does.

    Optuna's learns them from the complete trials when it first judges one; a sampler that asks sooner is shown others.
    """

    def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
        if not self._pruners:
            self._try_initialization(study)
        return super()._get_bracket_id(study, trial)


PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "none": NopPruner,
    "median": MedianPruner,  # worse than the median of the earlier trials at the same step
    "successive_halving": SuccessiveHalvingPruner,  # Li et al., MLSys 2020 (asynchronous)
    "hyperband": _Hyperband,  # Li et al., JMLR 2018
}


def make_pruner(name: str, *, objectives: int) -> BasePruner:
    """The pruner of that name; UserError if there is none, or for more than one objective (Optuna prunes by one)."""
    if name not in PRUNERS:
        raise UserError(f"unknown pruner {name!r}; known: {', '.join(sorted(PRUNERS))}")
    if name != "none" and objectives > 1:
        raise UserError(f"pruner {name} goes with one objective; with {objectives} it must be none")
    return PRUNERS[name]()
