"""The configuration of a study."""

from dataclasses import dataclass

from genotypes import UserError
from nas.trials.pruners import PRUNERS
from nas.trials.samplers import SAMPLERS

__all__ = ["TrialsConfig"]


@dataclass(frozen=True, kw_only=True)
class TrialsConfig:
    """Genotypes tried one after another, by one process or by many that share a storage.

    Attributes:
        count: trials of the study, of all its workers together.
        sampler: what to try next: evolution, nsga2, random or tpe; none: the strategy's own.
        population: random trials first; then the size of evolution's and nsga2's population; none: 10.
        pruner: which short trainings end early: none, median, hyperband or successive_halving (for one objective).
        storage: where the study lies: sqlite:///FILE, postgresql://..., mysql+pymysql://..., or a file ending in
            .journal or .log that the workers share; none: a journal in the run's folder.
        study: its name in the storage; none: made of space, objectives, sampler and seed, so that the same command on
            several machines works on one study, and other searches may use the storage too.
        stale_after: seconds without a sign of life after which another machine's trial counts as lost.
    """

    count: int = 60
    sampler: str | None = None
    population: int | None = None
    pruner: str = "none"
    storage: str | None = None
    study: str | None = None
    stale_after: float = 120.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"count must be at least 1 trial, not {self.count}")
        if self.population is not None and self.population < 2:
            raise UserError(f"population must be at least 2 trials, not {self.population}")
        if not self.stale_after > 0:
            raise UserError(f"stale_after must be more than 0 seconds, not {self.stale_after}")
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise UserError(f"unknown sampler {self.sampler!r}; known: {', '.join(sorted(SAMPLERS))}")
        if self.pruner not in PRUNERS:
            raise UserError(f"unknown pruner {self.pruner!r}; known: {', '.join(sorted(PRUNERS))}")
        if self.study is not None and not self.study.strip():
            raise UserError("study must be a name, not blank")
