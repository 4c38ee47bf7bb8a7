"""The trials of a study as plain data, and their table."""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from genotypes import UserError

__all__ = ["REPEAT", "Trial", "Trials", "read_trial", "write_trials"]

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
            raise UserError(f"none of the study's {len(self.trials)} trials was completed")
        return min(self.complete, key=lambda trial: (trial.values[0], trial.number))


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "state", *trials.objectives, "seconds", REPEAT, *edges])
        for trial in trials.trials:
            values = [*trial.values, *[""] * (len(trials.objectives) - len(trial.values))]
            choices = [trial.choices.get(edge, "") for edge in edges]
            writer.writerow([trial.number, trial.state, *values, trial.seconds, trial.repeat_of, *choices])
    os.replace(temporary, path)
