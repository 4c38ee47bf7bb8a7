"""The trials of a study as plain data: their table, and the Pareto front of loss against cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from genotypes import Genotype, UserError, save
from genotypes.errors import plural
from genotypes.files import write_csv
from nas.visualize.charts import CostPoint, pareto, save_figure, trade_off

__all__ = ["REPEAT", "Trial", "Trials", "draw_front", "export_front", "pareto_front", "read_trial", "write_trials"]

REPEAT = "repeat_of"  # user attribute of a trial whose values are another's


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A genotype that was tried.

    number: in the study. state: complete, pruned, running or waiting. choices: edge -> candidate. values: one for every
    objective, smaller is better; of a pruned trial the last that it reported, if any. seconds: its duration.
    repeat_of: the earlier trial of the same genotype whose values these are.
    """

    number: int
    state: str
    choices: Mapping[str, Any]
    values: tuple[float, ...]
    seconds: float | None = None
    repeat_of: int | None = None


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A study's trials in the order of their numbers. objectives: names of the values."""

    trials: tuple[Trial, ...]
    objectives: tuple[str, ...] = ("loss",)

    @property
    def complete(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def best(self) -> Trial:
        """The complete trial of the smallest first objective, among equals the first; UserError if there is none."""
        if not self.complete:
            raise UserError(f"of the study's {plural(len(self.trials), 'trial')} none was completed")
        return min(self.complete, key=lambda trial: (trial.values[0], trial.number))

    def within(self, budget: float | None) -> "Trials":
        """The complete trials whose second objective, a cost, is at most the budget, if there is one."""
        kept = (trial for trial in self.complete if budget is None or trial.values[1] <= budget)
        return replace(self, trials=tuple(kept))

    def best_within(self, budget: float | None, unit: str = "") -> Trial:
        """The best trial of those that keep the budget; UserError, with the least cost there is, where none does."""
        if budget is None or not self.complete:
            return self.best
        if (kept := self.within(budget)).trials:
            return kept.best
        least = min(trial.values[1] for trial in self.complete)
        raise UserError(
            f"of {plural(len(self.complete), 'genotype')} none keeps the budget of {budget:,.10g} {unit}; the cheapest "
            f"takes {least:,.10g}: more --trials.count, or a larger --budget"
        )


def read_trial(trial: FrozenTrial, edges: Sequence[str]) -> Trial:
    """Optuna's record as ours, its choices in the order of `edges`."""
    return Trial(
        number=trial.number,
        state=trial.state.name.lower(),
        choices={edge: trial.params[edge] for edge in edges if edge in trial.params},
        values=tuple(trial.values or ()) if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else (),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        repeat_of=trial.user_attrs.get(REPEAT),
    )


def write_trials(trials: Trials, path: Path) -> None:
    """A CSV file with one row a trial: number, state, objectives, seconds, repeat_of, and a column for every edge."""
    edges = list(dict.fromkeys(edge for trial in trials.trials for edge in trial.choices))
    rows: list[list[object]] = [["number", "state", *trials.objectives, "seconds", REPEAT, *edges]]
    for trial in trials.trials:
        values = [*trial.values, *[""] * (len(trials.objectives) - len(trial.values))]
        choices = [trial.choices.get(edge, "") for edge in edges]
        rows.append([trial.number, trial.state, *values, trial.seconds, trial.repeat_of, *choices])
    write_csv(path, rows)


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    """The complete trials (loss, cost) that no other beats in both, from the cheapest to the best.

    Of trials with equal values the first is kept, so that loss falls strictly while cost rises. One that diverged is
    on no front, however cheap it is.
    """
    finite = (trial for trial in trials if trial.state == "complete" and all(map(math.isfinite, trial.values)))
    complete = sorted(finite, key=lambda trial: trial.number)
    return pareto(complete, lambda trial: trial.values[1], lambda trial: trial.values[0])


def draw_front(
    trials: Trials,
    path: Path,
    *,
    labels: Sequence[str] = ("loss", "cost"),
    title: str = "",
    marked: Sequence[Trial] = (),
    beside: Mapping[str, Sequence[CostPoint]] = MappingProxyType({}),
) -> None:
    """All complete trials as dots, the front as steps with the trials' numbers, as a figure (format by suffix: .svg).

    labels: of the objectives (loss, cost), with units. marked: trials shown as a star: what was chosen. beside: see
    `trade_off`. The same trials give the same bytes.
    """
    complete = [trial for trial in trials.complete if all(map(math.isfinite, trial.values))]

    def point(trial: Trial, label: str = "") -> CostPoint:
        return CostPoint(x=trial.values[1], y=trial.values[0], label=label, marked=trial in marked)

    front = [point(trial, str(trial.number)) for trial in pareto_front(complete)]
    loss, cost = labels
    figure = trade_off([point(t) for t in complete], front, title=title, xlabel=cost, ylabel=loss, beside=beside)
    save_figure(figure, path)


def export_front(space: Genotype, trials: Trials, folder: Path, *, name: str = "") -> list[Path]:
    """Every genotype on the front as folder/NN_trialNNN.yaml, from the cheapest to the best; front.csv lists them.

    space: what the trials' choices decide. name: of the genotypes, before their number. Files of an earlier front go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]*_trial*.yaml"):
        old.unlink()
    paths = []
    rows: list[list[object]] = [["file", "trial", *trials.objectives, "hash"]]
    for rank, trial in enumerate(pareto_front(trials.trials)):
        genotype = space.decide(trial.choices, name=f"{name or space.name}_{rank:02d}")
        paths.append(folder / f"{rank:02d}_trial{trial.number:03d}.yaml")
        save(genotype, paths[-1])
        rows.append([paths[-1].name, trial.number, *trial.values, genotype.hash])
    write_csv(folder / "front.csv", rows)
    return paths
