"""What a user says of a study, and the names of samplers and pruners. Without Optuna, which a study alone needs."""

from dataclasses import dataclass

from genotypes import Record, Registry
from genotypes.errors import UserError, check_least

__all__ = ["PRUNERS", "SAMPLERS", "TrialsConfig"]

SAMPLERS = Registry("sampler", Record)  # each makes Optuna's of (seed, population)
SAMPLERS.add(
    Record(
        name="evolution",
        summary="the best of a few of the last trials, changed in one place",
        paper="Real et al., AAAI 2019",
        source="nas.trials.samplers:RegularisedEvolution",
        arguments={"tournament": 0.8},
    ),
    Record(
        name="gp",
        summary="where a Gaussian process expects the least loss, within a budget drawn for each trial",
        paper="Ament et al., NeurIPS 2023; Gardner et al., ICML 2014",
        source="nas.trials.samplers:BudgetedGP",
    ),
    Record(
        name="nsga2",
        summary="evolution with several objectives",
        paper="Deb et al., 2002",
        source="nas.trials.samplers:nsga2",
    ),
    Record(name="random", summary="any, all alike likely", source="nas.trials.samplers:uniform"),
    Record(
        name="tpe",
        summary="where good trials are dense and bad ones are not",
        paper="Bergstra et al., NIPS 2011",
        source="nas.trials.samplers:tpe",
    ),
)
PRUNERS = Registry("pruner", Record)
PRUNERS.add(
    Record(name="none", summary="every trial runs to its end", source="optuna.pruners:NopPruner"),
    Record(
        name="median",
        summary="worse than the median of the earlier trials at the same step ends",
        source="optuna.pruners:MedianPruner",
    ),
    Record(
        name="successive_halving",
        paper="Li et al., MLSys 2020 (asynchronous)",
        source="optuna.pruners:SuccessiveHalvingPruner",
    ),
    Record(name="hyperband", paper="Li et al., JMLR 2018", source="nas.trials.samplers:Hyperband"),
)


@dataclass(frozen=True, kw_only=True)
class TrialsConfig:
    """Genotypes, or settings of a recipe, tried one after another, by one process or by many that share a storage.

    Attributes:
        count: trials of the study, of all its workers together.
        sampler: what to try next: evolution, gp, nsga2, random or tpe; none: a search's is its strategy's,
            that of settings tpe.
        population: random trials first; then the size of evolution's and nsga2's population; none: 10.
        pruner: which short trainings end early: none, median, hyperband or successive_halving (for one objective).
        storage: where the study lies: sqlite:///FILE, postgresql://..., mysql+pymysql://..., or a file ending in
            .journal or .log that the workers share; none: a journal in the run's folder.
        study: its name in the storage; none: made of the sampler, the seed and all that scores depend on, so that the
            same command on several machines works on one study, and others may use the storage too.
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
        check_least(self, "trials: ", count=1, population=2)
        if not self.stale_after > 0:
            raise UserError(f"stale_after must be more than 0 seconds, not {self.stale_after}")
        for registry, name in ((SAMPLERS, self.sampler), (PRUNERS, self.pruner)):
            if name is not None:
                registry[name]  # or its error: unknown
        if self.study is not None and not self.study.strip():
            raise UserError("study must be a name, not blank")
