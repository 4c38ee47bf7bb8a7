"""A study: genotypes tried one after another, by any number of workers on one storage.

Whatever is interrupted, killed or started again, the study ends with `count` trials. With one worker they are bit for
bit those of an undisturbed run: a draw depends on seed, number and earlier trials alone, and a trial that was under way
is tried again under its own number with its own choices.
"""

import hashlib
import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import OptunaError, TrialPruned
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from genotypes.errors import UserError, UserNote, plural
from genotypes.files import read_csv
from nas.options import Config, changed_of, difference, plain
from nas.run import Interrupted, Interrupts, progress_bar
from nas.trials.config import TrialsConfig
from nas.trials.records import REPEAT, Trials, read_trial, write_trials
from nas.trials.samplers import Identify, choices_key, make_pruner, make_sampler
from nas.trials.storage import STORAGE_ERRORS, Heartbeat, Watch, give_back, open_storage, reason, storage_name

__all__ = ["Report", "Score", "check_trials", "comparable", "run_trials"]

Report = Callable[[int, float], None]  # (step, value so far): may end the trial
Score = Callable[[dict[str, Any], Report], Sequence[float]]  # (choices, report) -> one value an objective

_SEARCHED = "searched"  # user attribute of a study: what its trials are about
_SEEN = "seen"  # and what they read, by its content
_TABLE = "trials.csv"  # in a run's folder
_PAUSE = 0.5  # seconds between looks at the trials of others


def check_trials(cfg: TrialsConfig, *, objectives: int = 1) -> None:
    """UserError for what `run_trials` would refuse of a configuration: hours of other work may come before it."""
    make_sampler(cfg.sampler or "tpe", {}, seed=0, population=cfg.population, objectives=objectives)
    make_pruner(cfg.pruner, objectives=objectives)
    if cfg.storage is not None:
        with _quiet_optuna():
            open_storage(cfg.storage)


def comparable(cfg: Config, left_out: Iterable[str], files: Iterable[str]) -> Config:
    """A configuration as `run_trials` may take it for `scored`: equal for what scores alike.

    left_out: options that make no other scores, or are told otherwise; files: those that name one, of which the name
    alone counts, since each machine has its own path to it.
    """
    usual: Any = type(cfg)()
    changes = {name: getattr(usual, name) for name in left_out}
    changes |= {name: (path := getattr(cfg, name)) and Path(path).name for name in files}
    return replace(cast(Any, cfg), **changes)


class _Stopped(Exception):
    """Raised by `report` when a signal has come."""


def run_trials(
    space: Mapping[str, Sequence[Any]],
    score: Score,
    cfg: TrialsConfig,
    *,
    seed: int = 0,
    accept: Callable[[Mapping[str, Any]], bool] = lambda choices: True,
    identify: Identify = choices_key,
    objectives: Sequence[str] = ("loss",),
    scored: Mapping[str, Any] = MappingProxyType({}),
    seen: Mapping[str, str] = MappingProxyType({}),
    first: Sequence[Mapping[str, Any]] = (),
    folder: Path | None = None,
    interrupts: Interrupts | None = None,
    to_continue: str = "run the same command again",
    called: str = "trials",
) -> Trials:
    """Work on a study until `cfg.count` of its trials are finished, by this process or others; all of them.

    space: open edge (or width) -> candidates; each is a categorical parameter of the same name.
    score: gives the objectives of a genotype, smaller is better. It may call `report(step, value)` on its way, for
        the pruner and for interruptions; what it raises then is not to be caught. NaN counts as infinite: a training
        that diverged. It is not called for a genotype that the study knows. Any other exception ends the
        run; the trial stays to be tried again.
    accept: which choices are worth a trial at all.
    identify: what tells genotypes apart, of all choices; those that are equal are one genotype, tried once.
    objectives: names of the values: the loss, perhaps a cost.
    scored: what tells these scores from others of the same space: configurations and plain values. All that is not at
        its default goes into the study's name, so a version with further options finds the study again.
    seen: kind -> digest of what the scores are made of, such as the photographs' fingerprint. The study keeps it and
        refuses a worker that has another one; it is no part of its name.
    first: choices that a new study tries first; the sampler learns from them as from its own.
    folder: of the run, for study.journal (see `TrialsConfig.storage`) and trials.csv; none: nothing is written.
    interrupts: of the run that the study is a part of; none: its own.
    to_continue: what an interrupted user is told to do.
    called: what the progress bar says of the trials.

    Raises Interrupted when asked to stop, UserError for a storage that cannot be opened and a study of another space.
    """
    objectives = tuple(objectives)
    parameters = {edge: CategoricalDistribution(tuple(candidates)) for edge, candidates in space.items()}
    sampler = make_sampler(
        cfg.sampler or "tpe",
        parameters,
        seed=seed,
        population=cfg.population,
        objectives=len(objectives),
        accept=accept,
        identify=identify,
    )
    pruner = make_pruner(cfg.pruner, objectives=len(objectives))
    searched = {
        "space": {edge: list(candidates) for edge, candidates in space.items()},
        "objectives": list(objectives),
        "scored": plain(scored, changed_of),
    }
    shown = storage_name(cfg.storage, folder)
    with _quiet_optuna():
        storage = open_storage(cfg.storage, folder)
        try:
            name = cfg.study or _name(searched, cfg, seed)
            searched["in_full"] = plain(scored)
            if folder:
                _tell_gone(storage, folder / _TABLE, shown)
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=["minimize"] * len(objectives),
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )
            _join(study, searched, dict(seen), first[: cfg.count], f"study {name!r} in {shown}")
            with interrupts or Interrupts() as caught:
                worker = _Worker(study, storage, parameters, score, identify, cfg, objectives, folder, caught, called)
                return worker.run(to_continue)
        except STORAGE_ERRORS as error:
            raise UserError(f"storage {shown}: {reason(error)}; once it is back, the same command goes on") from error


@dataclass(frozen=True)
class _Worker:
    """This process's part of a study."""

    study: optuna.Study
    storage: BaseStorage
    parameters: Mapping[str, CategoricalDistribution]
    score: Score
    identify: Identify
    cfg: TrialsConfig
    objectives: tuple[str, ...]
    folder: Path | None
    interrupts: Interrupts
    called: str

    @property
    def alone(self) -> bool:
        return isinstance(self.storage, InMemoryStorage)

    def run(self, to_continue: str) -> Trials:
        watch = Watch(self.cfg.stale_after)
        with progress_bar(total=self.cfg.count, desc=self.called, unit="trial") as bar:
            while True:
                for lost in [] if self.alone else watch.lost(self.study.get_trials(deepcopy=False)):
                    give_back(self.storage, lost._trial_id)
                trials = self._counted()
                finished = sum(trial.state.is_finished() for trial in trials)
                self._show(bar, trials, finished)
                if finished == self.cfg.count:
                    return self._record()
                if self.interrupts.signum:
                    raise Interrupted(
                        self.interrupts.signum,
                        f"{finished} of {plural(self.cfg.count, 'trial')} finished; to continue: {to_continue}",
                    )
                if len(trials) < self.cfg.count or any(trial.state == TrialState.WAITING for trial in trials):
                    self._try_one()
                else:  # the rest is others' work, unless they die
                    bar.set_description_str("waiting for other workers")
                    time.sleep(_PAUSE)

    def _counted(self) -> list[FrozenTrial]:
        """The trials that count: the first `count`, without failed ones (see `_try_one`)."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != TrialState.FAIL][: self.cfg.count]

    def _try_one(self) -> None:
        trial = self.study.ask()
        every = self.cfg.stale_after / 4
        try:
            with nullcontext() if self.alone else Heartbeat(self.storage, trial._trial_id, every):
                if trial.number not in {counted.number for counted in self._counted()}:
                    # Several workers asked for the last trial at once.
                    self.study.tell(trial, state=TrialState.FAIL)
                    return
                choices = {edge: trial.suggest_categorical(edge, d.choices) for edge, d in self.parameters.items()}
                values = self._known(trial, choices) or self._values(self.score(choices, self._reporter(trial)))
        except TrialPruned:
            self._tell(trial, state=TrialState.PRUNED)
        except _Stopped:
            give_back(self.storage, trial._trial_id)
        except BaseException:
            give_back(self.storage, trial._trial_id)
            raise
        else:
            self._tell(trial, values)
        if self.folder:
            self._record()

    def _known(self, trial: optuna.Trial, choices: dict[str, Any]) -> list[float] | None:
        """The values of the first complete trial of the same genotype, if there is one."""
        mine = self.identify(choices)
        for other in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if self.identify(other.params) == mine:
                trial.set_user_attr(REPEAT, other.user_attrs.get(REPEAT, other.number))
                return other.values
        return None

    def _values(self, values: Sequence[float]) -> list[float]:
        values = [float(value) for value in values]
        if len(values) != len(self.objectives):
            raise ValueError(f"score gave {plural(len(values), 'value')}; objectives: {', '.join(self.objectives)}")
        return [math.inf if math.isnan(value) else value for value in values]

    def _reporter(self, trial: optuna.Trial) -> Report:
        before = set(self.storage.get_trial(trial._trial_id).intermediate_values)

        def report(step: int, value: float) -> None:
            if self.cfg.pruner != "none":
                if step not in before:  # an interrupted try of this trial has reported it
                    trial.report(math.inf if math.isnan(value) else float(value), step)
                if trial.should_prune():
                    raise TrialPruned
            if self.interrupts.signum:
                raise _Stopped

        return report

    def _tell(self, trial: optuna.Trial, values: list[float] | None = None, **state: Any) -> None:
        try:
            self.study.tell(trial, values, **state)
        except (OptunaError, RuntimeError, ValueError):
            # Taken for dead (a suspended machine), this worker has lost the trial to another, who finds the same.
            if self.storage.get_trial(trial._trial_id).state == TrialState.RUNNING:
                raise

    def _record(self) -> Trials:
        found = tuple(read_trial(trial, tuple(self.parameters)) for trial in self._counted())
        trials = Trials(trials=found, objectives=self.objectives)
        if self.folder:
            write_trials(trials, self.folder / _TABLE)
        return trials

    def _show(self, bar: Any, trials: list[FrozenTrial], finished: int) -> None:
        bar.n = finished
        best = min((t.values[0] for t in trials if t.state == TrialState.COMPLETE), default=None)
        bar.set_description_str(self.called, refresh=False)
        if best is not None:
            bar.set_postfix_str(f"best {self.objectives[0]} {best:.4g}", refresh=False)
        bar.update(0)


def _name(searched: dict[str, Any], cfg: TrialsConfig, seed: int) -> str:
    digest = hashlib.sha256(json.dumps(searched, sort_keys=True).encode()).hexdigest()[:12]
    pruner = "" if cfg.pruner == "none" else f"-{cfg.pruner}"
    return f"{cfg.sampler or 'tpe'}{pruner}-seed{seed}-{digest}"


def _tell_gone(storage: BaseStorage, table: Path, shown: str) -> None:
    """Note that a storage is empty, though the run has a table of finished trials: somebody took it away."""
    rows = read_csv(table) if table.is_file() else []
    finished = sum(row.get("state") in ("complete", "pruned") for row in rows)
    if finished and not optuna.get_all_study_names(storage):
        trials = plural(finished, "finished trial")
        note = f"{shown} holds no study any more, and {table} lists {trials}: all are tried again"
        warnings.warn(note, UserNote, stacklevel=3)


def _join(
    study: optuna.Study, searched: dict[str, Any], seen: dict[str, str], first: Iterable[Mapping[str, Any]], shown: str
) -> None:
    """Tell a new study what it is about, and what to try first; UserError where one that is there is about another."""
    has_trials = bool(study.get_trials(deepcopy=False))  # asked first: another worker may be making the study now
    there = study.user_attrs.get(_SEARCHED)
    if there is None:
        if has_trials or len(study.directions) != len(searched["objectives"]):
            raise UserError(f"{shown} was made by another program; choose another --study")
        study.set_user_attr(_SEARCHED, searched)
        study.set_metric_names(searched["objectives"])
        for choices in first:
            study.enqueue_trial(dict(choices))
    else:
        _check_searched(there, searched, shown)
    _check_seen(study, seen, shown)


def _check_searched(there: dict[str, Any], searched: dict[str, Any], shown: str) -> None:
    """UserError where a study is about something else than we are."""
    if there["objectives"] != searched["objectives"]:
        raise UserError(f"{shown} is about other objectives: {there['objectives']!r}, here {searched['objectives']!r}")
    # In full: a default may have another value than in the version that made the study.
    in_full = difference(there.get("in_full"), searched["in_full"], common=True)
    if other := in_full or difference(there["scored"], searched["scored"]):
        name, before, now = other
        raise UserError(f"{shown} is about other scores: {name} is {before!r} there, {now!r} here")
    for edge in there["space"] | searched["space"]:
        before, now = there["space"].get(edge), searched["space"].get(edge)
        if before != now:
            raise UserError(f"{shown} is about another space: candidates of {edge} are {before} there, {now} here")


def _check_seen(study: optuna.Study, seen: dict[str, str], shown: str) -> None:
    """UserError where a study's trials were made of other things than ours would be; what it does not say is noted."""
    there: dict[str, str] = study.user_attrs.get(_SEEN, {})
    for what, now in seen.items():
        if (before := there.get(what, now)) != now:
            raise UserError(
                f"{shown} is of another {what}: {before} there, {now} here; give the same, or another --trials.study"
            )
    if unknown := [what for what in seen if what not in there]:
        if any(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)):
            told = ", ".join(f"{what}: {seen[what]}" for what in unknown)
            note = f"{shown} was begun by an earlier version; it is taken to be of what is given here ({told})"
            warnings.warn(note, UserNote, stacklevel=2)
        study.set_user_attr(_SEEN, there | seen)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Optuna tells of every study it makes and of every option that it calls experimental."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
