"""From a trained supernet to the genotype: derived ones compete, or a study tries many; beside random ones."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genotypes import Genotype, UserError
from nas.run import RunFolder
from nas.search import log
from nas.search.config import SearchConfig, study_config
from nas.search.inputs import Inputs
from nas.search.scoring import make_scorer, scored
from nas.search.state import SearchState
from nas.strategies import derivable
from nas.trials import Trial, Trials, TrialsConfig, draw_front, export_front, run_trials

__all__ = ["Rivals", "SearchResult", "finish"]

_RIVALS = 6
_APART = 1_000_003  # from the seed of the search's own study, whose first trials are random as well


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """losses: of random genotypes, scored as the result was; better: the share of them that the result beats."""

    losses: tuple[float, ...]
    better: float

    @property
    def mean(self) -> float:
        return sum(self.losses) / len(self.losses)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The genotype found and where it lies.

    scores: on the held-out part, before retraining; empty for `random`. inherited: with the weights of the supernet,
    else after a short training. cost: in the objective's unit. stopped: why the search was ended early. front: files
    of the Pareto front.
    """

    genotype: Genotype
    scores: dict[str, float]
    path: Path
    inherited: bool = True
    cost: float | None = None
    rivals: Rivals | None = None
    stopped: str | None = None
    front: tuple[Path, ...] = ()


def finish(cfg: SearchConfig, run: RunFolder, state: SearchState, inputs: Inputs, *, progress: bool) -> SearchResult:
    """Decide, compare with chance, and write genotype.yaml, its drawing and scores.json."""
    study = _Study(cfg, run, state, inputs, progress)
    front: tuple[Path, ...] = ()
    if state.strategy.sampler:
        trials = study.run(study_config(cfg), cfg.seed)
        if len(trials.objectives) > 1:
            front = study.show_front(trials)
        best = study.best(trials)
        choices, scores = best.choices, study.scores(best.choices)
    elif not state.strategy.learns:
        choices, scores = state.derive(inputs.objective), {}
    elif state.stop:
        choices, scores = state.stop.choices, study.scores(state.stop.choices)
    else:
        state.remember(state.derive(inputs.objective), cfg.select)
        judged = [(choices, study.scores(choices)) for choices in state.derived]
        choices, scores = min(judged, key=lambda pair: pair[1]["loss"])
    rivals = study.rivals(scores["loss"]) if scores else None
    genotype = inputs.export.decide(choices, name=f"{inputs.space.name}_{cfg.strategy.name}")
    log.products(run, genotype)
    cost = inputs.objective.table.of(choices) if inputs.objective else None
    result = SearchResult(
        genotype=genotype,
        scores=scores,
        path=run.path,
        inherited=state.strategy.learns,
        cost=cost,
        rivals=rivals,
        stopped=state.stop.reason if state.stop else None,
        front=front,
    )
    run.write_text("scores.json", json.dumps(_summary(result), indent=1))
    run.close()
    return result


class _Study:
    """The genotypes that a search scores at its end, all in one way."""

    def __init__(self, cfg: SearchConfig, run: RunFolder, state: SearchState, inputs: Inputs, progress: bool) -> None:
        self.cfg, self.run_folder, self.inputs, self.progress = cfg, run, inputs, progress
        self.inherited, self.strategy = state.strategy.learns, state.strategy
        self.scorer = make_scorer(cfg, state.net, inputs, inherited=self.inherited)
        self.known: dict[tuple[str, ...], dict[str, float]] = {}

    def scores(self, choices: Mapping[str, str], report: Any = lambda step, value: None) -> dict[str, float]:
        key = tuple(choices.values())
        if key not in self.known:
            self.known[key] = self.scorer(choices, report)
        return self.known[key]

    def run(self, cfg: TrialsConfig, seed: int, folder: str = "", *, affordable: bool = False) -> Trials:
        """A study of genotypes; objectives: the loss and, where the search minds it, the cost.

        affordable: what breaks the budget is scored as the nearest genotype that keeps it.
        """
        objective = self.inputs.objective
        where = self.run_folder.path / folder
        where.mkdir(exist_ok=True)

        def score(choices: Mapping[str, str], report: Any) -> list[float]:
            if affordable and objective:
                choices = objective.nearest(choices)
            values = [self.scores(choices, report)["loss"]]
            return [*values, objective.table.of(choices)] if objective else values

        return run_trials(
            derivable(self.inputs.space.open_edges(), self.cfg.strategy),
            score,
            cfg,
            seed=seed,
            accept=self.inputs.space.reaches_image,
            objectives=("loss", objective.table.kind) if objective else ("loss",),
            scored=scored(self.cfg, self.inputs) + (f" within {objective.budget}" if affordable and objective else ""),
            folder=where,
            progress=self.progress,
            to_continue=f"--out {self.run_folder.path} --resume",
        )

    def affordable(self, trials: Trials) -> Trials:
        """The complete ones that keep the budget, if there is one."""
        objective = self.inputs.objective
        kept = (trial for trial in trials.complete if objective is None or objective.affordable(trial.choices))
        return replace(trials, trials=tuple(kept))

    def best(self, trials: Trials) -> Trial:
        """The trial of the least loss among those that keep the budget."""
        objective, kept = self.inputs.objective, self.affordable(trials)
        if kept.complete:
            return kept.best
        if objective is None or objective.budget is None:
            return trials.best  # or its error: no trial was completed
        least = min((objective.table.of(trial.choices) for trial in trials.complete), default=math.nan)
        raise UserError(
            f"none of {len(trials.complete)} genotypes keeps the budget of {objective.budget:,.10g} "
            f"{objective.table.unit}; the cheapest takes {least:,.10g}: more --trials.count, or a larger --budget"
        )

    def show_front(self, trials: Trials) -> tuple[Path, ...]:
        """Draws the front and exports the genotypes on it, also where the budget leaves none to be the result."""
        table = self.inputs.objective.table
        labels = ("held-out loss", f"{table.kind} ({table.unit})")
        kept = self.affordable(trials)
        marked = [kept.best] if kept.complete else []
        path, title = self.run_folder.path / "front.svg", self.inputs.space.name
        draw_front(trials, path, labels=labels, title=title, marked=marked)
        name = f"{title}_{self.cfg.strategy.name}"
        return tuple(export_front(self.inputs.export, trials, self.run_folder.path / "front", name=name))

    def rivals(self, loss: float) -> Rivals | None:
        """Random genotypes under the same scorer and budget: what the result must be measured by."""
        cfg, count = self.cfg.trials, self.cfg.rivals
        if count is None:
            count = cfg.count if self.strategy.sampler else _RIVALS
        if count == 0:
            return None
        name = f"{cfg.study}-random" if cfg.study else None
        cfg = replace(cfg, sampler="random", count=count, study=name)
        drawn = self.run(cfg, self.cfg.seed + _APART, "random", affordable=True)
        losses = [trial.values[0] for trial in drawn.complete]
        return Rivals(losses=tuple(losses), better=sum(loss < other for other in losses) / len(losses))


def _summary(result: SearchResult) -> dict[str, Any]:
    found = {"genotype": result.genotype.name, "hash": result.genotype.hash, **result.scores}
    if result.cost is not None:
        found["cost"] = result.cost
    rivals = {"losses": result.rivals.losses, "beaten": result.rivals.better} if result.rivals else None
    return {"found": found, "random": rivals, "stopped": result.stopped}
