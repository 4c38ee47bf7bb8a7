"""What to try next, and what to end early: functions of seed, the trial's number and the trials before it.

So resuming changes nothing.
"""

import itertools
import math
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from genotypes import UserError
from nas.trials.config import PRUNERS, SAMPLERS

__all__ = [
    "Hyperband",
    "Identify",
    "RegularisedEvolution",
    "SeededSampler",
    "make_pruner",
    "make_sampler",
    "choices_key",
    "nsga2",
    "tpe",
    "uniform",
]

_POPULATION = 10  # where a study names none
_LONGEST_WALK = 10_000  # steps; after them all that is left to try may be what is refused
_ATTEMPTS = 20  # draws that are thrown away because their genotype has been tried
_DEAR_ATTEMPTS = 2  # of gp, whose draws take long and hardly differ
# From Optuna 5 on a trial is told its constraints, and a sampler's function for them will go. Optuna 4 looks at the
# trials' constraints only where there is one; it does not call it for trials that bring theirs.
_TOLD = hasattr(FrozenTrial, "set_constraint")


Identify: TypeAlias = Callable[[Mapping[str, Any]], Hashable]


def choices_key(choices: Mapping[str, Any]) -> Hashable:
    """What tells genotypes apart in a space where other choices always make another one."""
    return tuple(sorted(choices.items()))


def make_sampler(
    name: str,
    space: Mapping[str, CategoricalDistribution],
    *,
    seed: int,
    population: int | None,
    objectives: int,
    accept: Callable[[Mapping[str, Any]], bool] = lambda choices: True,
    identify: Identify = choices_key,
) -> "SeededSampler":
    """The sampler of that name for parameters `space`; UserError if there is none, or not for so many objectives.

    population: see `TrialsConfig`. accept: false for choices that are not to be tried. identify: equal for
    choices that make one genotype.
    """
    make = SAMPLERS[name].load()
    if name == "evolution" and objectives > 1:
        raise UserError("sampler evolution has one objective; for a front of loss against cost take gp, nsga2 or tpe")
    # Of 10 and 20, 10 is better for evolution at 20 to 60 trials on both tables of nas.benchmark, and for tpe no worse.
    attempts = _DEAR_ATTEMPTS if name == "gp" else _ATTEMPTS
    return SeededSampler(
        space, seed, lambda draw_seed: make(draw_seed, population or _POPULATION), accept, identify, attempts
    )


class _Joint(BaseSampler):
    """A sampler that draws all parameters together: `sample_relative` is all that is asked of it."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise RuntimeError(f"{param_name} is not a parameter of this study")


class SeededSampler(_Joint):
    """Makes one of Optuna's samplers anew for every draw, with a seed that is a function of (seed, trial number).

    Optuna's samplers keep a random state in memory, which an interruption would lose. Beside that, no genotype is drawn
    twice before all have been: its score would be the same. make: seed of a draw -> sampler. accept: of all choices,
    also those with one candidate; what it refuses is drawn again. identify: see `make_sampler`.
    """

    def __init__(
        self,
        space: Mapping[str, CategoricalDistribution],
        seed: int,
        make: Callable[[int], BaseSampler],
        accept: Callable[[Mapping[str, Any]], bool],
        identify: Identify,
        attempts: int,
    ) -> None:
        self._fixed = {name: choices.choices[0] for name, choices in space.items() if choices.single()}
        self._refuse = lambda params: not accept({**self._fixed, **params})
        self._space = {name: choices for name, choices in space.items() if not choices.single()}
        self._seed = seed
        self._make = make
        self._identify = identify
        self._attempts = attempts

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
        return self._space

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        others = study.get_trials(deepcopy=False)
        whole = (
            other for other in others if other.number != trial.number and self._space.keys() <= other.params.keys()
        )
        tried = {self._key(other.params) for other in whole}
        for attempt in range(self._attempts):
            seeds = np.random.SeedSequence([self._seed % 2**63, trial.number, attempt]).generate_state(2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # options that Optuna calls experimental
                sampler = self._make(int(seeds[0]))
                params = sampler.sample_relative(study, trial, dict(self._space))
            rng = np.random.default_rng(seeds[1])
            for name, choices in self._space.items():  # startup trials, NSGA-II's mutations
                if name not in params:
                    params[name] = choices.choices[rng.integers(len(choices.choices))]
            if self._key(params) not in tried and not self._refuse(params):
                return params
        return self._untried_near(params, tried, rng)

    def _untried_near(self, params: dict[str, Any], tried: set, rng: np.random.Generator) -> dict[str, Any]:
        """Where the sampler's model is so sure that it only repeats itself: a walk from its choice, an edge a step."""
        all_tried = len(tried) >= math.prod(len(choices.choices) for choices in self._space.values())
        for step in itertools.count():
            if not self._refuse(params) and (all_tried or step > _LONGEST_WALK or self._key(params) not in tried):
                break
            params = change_one(params, self._space, rng)
        return params

    def _key(self, params: Mapping[str, Any]) -> Hashable:
        return self._identify({**self._fixed, **params})


class BudgetedGP(_Joint):
    """Optuna's Gaussian process, asked at each trial for the least loss within a budget that is drawn for this trial.

    The budget lies between the least and the greatest cost seen, on a logarithmic scale, so that all costs are looked
    at alike: by the gain of hypervolume a third of a study's trials went to the cheapest members. The process is shown
    the logarithms of loss and cost, and numbers as places in their order: it learns that 112 px lie between 96 and 128,
    where of categories, which studies keep, it would have to learn each by itself.
    """

    def __init__(self, seed: int, population: int) -> None:
        self._seed, self._population = seed, population

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        def whole(state: TrialState) -> list[FrozenTrial]:
            trials = study.get_trials(deepcopy=False, states=(state,))
            return [one for one in trials if one.number != trial.number and search_space.keys() <= one.params.keys()]

        done = whole(TrialState.COMPLETE)
        if len(done) < self._population:
            return {}
        values = np.array([one.values for one in done])
        values = np.log(values) if (values > 0).all() else values
        costs = values[:, 1:]
        over = costs - np.random.default_rng(self._seed).uniform(costs.min(0), costs.max(0))
        options: dict[str, Any] = {} if _TOLD or not costs.size else {"constraints_func": lambda one: ()}
        sampler = optuna.samplers.GPSampler(seed=self._seed, n_startup_trials=1, **options)
        view = optuna.create_study(sampler=sampler)
        space = _Ordinal(search_space)
        for one, loss, excess in zip(done, values[:, 0].tolist(), over.tolist(), strict=True):
            view.add_trial(space.trial(one.params, value=loss, **_constraints(excess)))
        for one in whole(TrialState.RUNNING):
            view.add_trial(space.trial(one.params, state=TrialState.RUNNING))
        view.ask()
        return space.choices(sampler.sample_relative(view, view.get_trials(deepcopy=False)[-1], space.places))


def _constraints(excess: Sequence[float]) -> dict[str, Any]:
    """Constraints of a trial, met where they are 0 or less, as `create_trial` takes them."""
    if _TOLD:
        return {"constraints": {str(number): value for number, value in enumerate(excess)}}
    return {"system_attrs": {"constraints": list(excess)} if excess else {}}


class _Ordinal:
    """Choices among numbers as ordinal parameters, places in the numbers' order; others as they are."""

    def __init__(self, space: Mapping[str, CategoricalDistribution]) -> None:
        self._numbers: dict[str, list[Any]] = {
            name: sorted(kind.choices, key=float)
            for name, kind in space.items()
            if all(type(choice) in (int, float) for choice in kind.choices)
        }
        self.places: dict[str, BaseDistribution] = dict(space)
        self.places |= {name: IntDistribution(0, len(numbers) - 1) for name, numbers in self._numbers.items()}

    def trial(self, choices: Mapping[str, Any], **options: Any) -> FrozenTrial:
        places = {name: choices[name] for name in self.places}
        places |= {name: numbers.index(choices[name]) for name, numbers in self._numbers.items()}
        return optuna.trial.create_trial(params=places, distributions=self.places, **options)

    def choices(self, places: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._numbers[name][place] if name in self._numbers else place for name, place in places.items()}


class RegularisedEvolution(_Joint):
    """Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019.

    The parent is the best of a random `tournament` (a share) of the last `population` completed trials; the child
    differs from it in one parameter. Its state is the study. The first `population` trials are random.
    """

    def __init__(self, seed: int, population: int, tournament: float) -> None:
        self._rng = np.random.default_rng(seed)
        self._population = population
        self._tournament = tournament

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(done) < self._population or not search_space:
            return {}
        alive: Sequence[FrozenTrial] = done[-self._population :]
        some = self._rng.choice(len(alive), max(2, round(self._tournament * len(alive))), replace=False)
        params = dict(alive[min(some, key=lambda index: (alive[index].value, index))].params)
        return change_one(params, search_space, self._rng)


def change_one(
    params: Mapping[str, Any], space: Mapping[str, CategoricalDistribution], rng: np.random.Generator
) -> dict[str, Any]:
    """`params` with another choice for one parameter, both drawn uniformly."""
    name = list(space)[rng.integers(len(space))]
    others = [choice for choice in space[name].choices if choice != params[name]]
    return dict(params) | {name: others[rng.integers(len(others))]}


def nsga2(seed: int, population: int) -> BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)


def uniform(seed: int, population: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def tpe(seed: int, population: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=population, multivariate=True, constant_liar=False)


class Hyperband(HyperbandPruner):
    """Optuna's, but a restarted process knows the brackets before its first draw, as one that was not disturbed does.

    Optuna's learns them from the complete trials when it first judges one; a sampler that asks sooner is shown others.
    It asks a bracket's own study for its trials, which asks here for each trial's bracket: so it learns them only from
    the whole study, also where no complete trial has reported anything yet and there is nothing to learn.
    """

    def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
        if not self._pruners and not hasattr(study, "_bracket_id"):
            self._try_initialization(study)
        return super()._get_bracket_id(study, trial)


def make_pruner(name: str, *, objectives: int) -> BasePruner:
    """The pruner of that name; UserError if there is none, or for more than one objective (Optuna prunes by one)."""
    record = PRUNERS[name]
    if name != "none" and objectives > 1:
        raise UserError(f"pruner {name} goes with one objective; with {objectives} it must be none")
    return record.make()
