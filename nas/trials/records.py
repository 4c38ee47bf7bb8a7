"""The trials of a study as plain data: their table, and the Pareto front of loss against cost."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from genotypes import Genotype, UserError, save
from nas.run import write_atomically
from nas.visualize.charts import save_figure

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
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["number", "state", *trials.objectives, "seconds", REPEAT, *edges])
    for trial in trials.trials:
        values = [*trial.values, *[""] * (len(trials.objectives) - len(trial.values))]
        choices = [trial.choices.get(edge, "") for edge in edges]
        writer.writerow([trial.number, trial.state, *values, trial.seconds, trial.repeat_of, *choices])
    with write_atomically(path) as file:
        file.write(text.getvalue().encode())


def pareto_front(trials: Iterable[Trial]) -> list[Trial]:
    """The complete trials (loss, cost) that no other beats in both, from the cheapest to the best.

    Of trials with equal values the first is kept, so that loss falls strictly while cost rises.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    front: list[Trial] = []
    for trial in sorted(complete, key=lambda trial: (trial.values[1], trial.values[0], trial.number)):
        if not front or trial.values[0] < front[-1].values[0]:
            front.append(trial)
    return front


def draw_front(
    trials: Trials,
    path: Path,
    *,
    labels: Sequence[str] = ("loss", "cost"),
    title: str = "",
    marked: Sequence[Trial] = (),
) -> None:
    """All complete trials as dots, the front as steps with the trials' numbers, as a figure (format by suffix: .svg).

    labels: of the objectives (loss, cost), with units. marked: trials shown as a star, such as the one that was chosen.
    The same trials give the same bytes.
    """
    complete = [trial for trial in trials.complete if max(map(abs, trial.values)) < float("inf")]
    front = pareto_front(complete)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter([t.values[1] for t in complete], [t.values[0] for t in complete], s=14, color="#9aa5b1", label="tried")
    x, y = [trial.values[1] for trial in front], [trial.values[0] for trial in front]
    axes.plot(x, y, drawstyle="steps-post", marker="o", markersize=5, color="#1f5fa8", label="front")
    axes.scatter(
        [t.values[1] for t in marked], [t.values[0] for t in marked], marker="*", s=160, color="#d9822b", zorder=3
    )
    for trial in front:
        place = (trial.values[1], trial.values[0])
        axes.annotate(str(trial.number), place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel=labels[1], ylabel=labels[0], title=title)
    axes.grid(color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    save_figure(figure, path)


def export_front(space: Genotype, trials: Trials, folder: Path, *, name: str = "") -> list[Path]:
    """Every genotype on the front as folder/NN_trialNNN.yaml, from the cheapest to the best; front.csv lists them.

    space: what the trials' choices decide. name: of the genotypes, before their number. Files of an earlier front go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]_trial*.yaml"):
        old.unlink()
    paths = []
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "trial", *trials.objectives, "hash"])
    for rank, trial in enumerate(pareto_front(trials.trials)):
        genotype = space.decide(trial.choices, name=f"{name or space.name}_{rank:02d}")
        paths.append(folder / f"{rank:02d}_trial{trial.number:03d}.yaml")
        save(genotype, paths[-1])
        writer.writerow([paths[-1].name, trial.number, *trial.values, genotype.hash])
    with write_atomically(folder / "front.csv") as file:
        file.write(text.getvalue().encode())
    return paths
