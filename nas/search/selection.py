"""From a trained supernet to the genotype: derived ones compete, or a study tries many; beside random ones."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genotypes import Genotype, UserError, save
from genotypes.files import json_text, quoted
from nas.guard import CollapseGuard, Stop
from nas.report import report_at_the_end
from nas.run import RunFolder
from nas.search.config import SearchConfig
from nas.search.explain import Preferences, explain, inherited_loss, preferences_of
from nas.search.objective import Timed, derive, time_found
from nas.search.scoring import score_genotype, train_briefly, what_is_scored, what_is_seen
from nas.search.setup import SearchSetup
from nas.strategies import Strategy, derivable
from nas.task import SEEDS_APART
from nas.training import Change
from nas.trials import Trials, TrialsConfig, draw_front, export_front, pareto_front, run_trials
from nas.visualize import draw

__all__ = ["Candidates", "Rivals", "SearchResult", "check_found", "select"]

_RIVALS = 6


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
    of the Pareto front. line_loss: of whole networks, the least loss of uniform scaling for at most this cost, where
    any costs so little. timed: where the search took latency into account. ran: on a GPU, how many steps were replayed
    and the peak memory.
    """

    genotype: Genotype
    scores: dict[str, float]
    path: Path
    inherited: bool = True
    cost: float | None = None
    rivals: Rivals | None = None
    stopped: str | None = None
    front: tuple[Path, ...] = ()
    line_loss: float | None = None
    timed: Timed | None = None
    ran: str | None = None


class Candidates(Change):
    """The genotypes that were derived on the way, and the guard that looks at them.

    derived: the last few different ones, the newest last. stop: why the search was ended early.
    """

    name = "candidates"

    def __init__(self, cfg: SearchConfig, setup: SearchSetup) -> None:
        self._keep = cfg.select
        self.derived: list[dict[str, str]] = []
        self.guard = CollapseGuard(cfg.guard, setup.net.open_edges, cfg.evaluations)
        self.stop: Stop | None = None

    def remember(self, choices: dict[str, str]) -> None:
        self.derived = [*(old for old in self.derived if old != choices), choices][-self._keep :]

    def state_dict(self) -> dict[str, Any]:
        stop = asdict(self.stop) if self.stop else None
        return {"derived": self.derived, "guard": self.guard.state_dict(), "stop": stop}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.derived = state["derived"]
        self.guard.load_state_dict(state["guard"])
        self.stop = Stop(**state["stop"]) if state["stop"] else None


def select(
    cfg: SearchConfig, run: RunFolder, setup: SearchSetup, strategy: Strategy, candidates: Candidates
) -> SearchResult:
    """Decide, compare with chance, and write genotype.yaml, its drawing, scores.json and report.html.

    UserError where everything diverged: there is nothing to choose from.
    """
    study = _Study(cfg, run, setup, strategy)
    front: tuple[Path, ...] = ()
    preferences: Preferences = strategy.probabilities()
    choices: Mapping[str, str]
    scores: dict[str, float]
    if strategy.sampler:
        trials = study.run(setup.study, cfg.seed)
        if len(trials.objectives) > 1:
            front = study.show_front(trials)
        cost = setup.objective
        best = trials.best_within(cost.budget, cost.table.unit) if cost else trials.best
        choices, preferences = best.choices, preferences_of(trials)
        scores = study.scores(choices)
    elif not strategy.learns:
        choices, scores = _derived(strategy, setup), {}
    elif candidates.stop:
        choices, scores = candidates.stop.choices, study.scores(candidates.stop.choices)
    else:
        candidates.remember(_derived(strategy, setup))
        judged = [(choices, study.scores(choices)) for choices in candidates.derived]
        choices, scores = min(judged, key=lambda pair: pair[1]["loss"])
    if scores:
        check_found(run, scores["loss"], cfg.budget)
    rivals = study.rivals(scores["loss"]) if scores else None
    genotype = setup.export.decide(choices, name=f"{setup.space.name}_{cfg.strategy.name}")
    save(genotype, run.path / "genotype.yaml")
    draw(genotype, run.path / "cells.svg")
    if strategy.learns:
        net, path = strategy.net.eval(), strategy.net.path(choices)
        loss = inherited_loss(net, setup)
        explain(run, setup, lambda x: net(x, path), choices, preferences, loss, seconds=cfg.worth_seconds)
    result = SearchResult(
        genotype=genotype,
        scores=scores,
        path=run.path,
        inherited=strategy.learns,
        cost=setup.objective.table.of(choices) if setup.objective else None,
        rivals=rivals,
        stopped=candidates.stop.reason if candidates.stop else None,
        front=front,
        timed=time_found(cfg, genotype, setup.device),
    )
    run.write_text("scores.json", json_text(_summary(result)))
    run.close()
    report_at_the_end(run.path)
    return result


def check_found(run: RunFolder, loss: float, budget: float | None = None) -> None:
    """UserError where the best that was tried, of what keeps the budget, has diverged: it is no result."""
    if not math.isfinite(loss):
        tried = "was tried" if budget is None else f"was tried and keeps the budget of {budget:,.10g}"
        raise UserError(f"{run.path}: nothing was found: all that {tried} diverged; try a smaller --optim.lr")


def _derived(strategy: Strategy, setup: SearchSetup) -> dict[str, str]:
    choices = derive(strategy, setup.objective)
    if choices is None:
        raise ValueError(f"{type(strategy).__name__} gives no choices and names no sampler to try some")
    return choices


class _Study:
    """The genotypes that a search scores at its end, all in one way."""

    def __init__(self, cfg: SearchConfig, run: RunFolder, setup: SearchSetup, strategy: Strategy) -> None:
        self.cfg, self.run_folder, self.setup, self.strategy = cfg, run, setup, strategy
        self.known: dict[tuple[str, ...], dict[str, float]] = {}

    def scores(self, choices: Mapping[str, str], report: Any = lambda step, value: None) -> dict[str, float]:
        key = tuple(choices.values())
        if key not in self.known:
            if self.strategy.learns:  # a trained supernet
                self.known[key] = score_genotype(self.strategy.net, choices, self.setup)
            else:
                self.known[key] = train_briefly(self.cfg, self.setup, choices, report)
        return self.known[key]

    def run(self, cfg: TrialsConfig, seed: int, folder: str = "", *, affordable: bool = False) -> Trials:
        """A study of genotypes; objectives: the loss and, where the search minds it, the cost.

        affordable: what breaks the budget is scored as the nearest genotype that keeps it.
        """
        objective = self.setup.objective
        where = self.run_folder.path / folder
        where.mkdir(exist_ok=True)

        def score(choices: Mapping[str, str], report: Any) -> list[float]:
            if affordable and objective:
                choices = objective.nearest(choices)
            values = [self.scores(choices, report)["loss"]]
            return [*values, objective.table.of(choices)] if objective else values

        within = {"within": objective.budget} if affordable and objective else {}
        return run_trials(
            derivable(self.strategy.trained(), self.cfg.strategy),
            score,
            cfg,
            seed=seed,
            accept=self.setup.space.reaches_image,
            objectives=("loss", objective.table.kind) if objective else ("loss",),
            scored=what_is_scored(self.cfg, self.setup) | within,
            seen=what_is_seen(self.cfg, self.setup),
            folder=where,
            interrupts=self.run_folder.interrupts,
            to_continue=f"--out {quoted(self.run_folder.path)} --resume",
            called=f"{folder} rivals" if folder else "trials",
        )

    def show_front(self, trials: Trials) -> tuple[Path, ...]:
        """Draws the front and exports the genotypes on it, also where the budget leaves none to be the result."""
        objective = self.setup.objective
        assert objective is not None  # two objectives are the loss and the cost
        if not pareto_front(trials.complete):
            return ()  # all diverged, which `select` tells
        table = objective.table
        labels = ("held-out loss", f"{table.kind} ({table.unit})")
        kept = trials.within(objective.budget)
        marked = [kept.best] if pareto_front(kept.complete) else []
        path, title = self.run_folder.path / "front.svg", self.setup.space.name
        draw_front(trials, path, labels=labels, title=title, marked=marked)
        name = f"{title}_{self.cfg.strategy.name}"
        return tuple(export_front(self.setup.export, trials, self.run_folder.path / "front", name=name))

    def rivals(self, loss: float) -> Rivals | None:
        """Random genotypes under the same scorer and budget: what the result must be measured by."""
        cfg, count = self.setup.study, self.cfg.rivals
        if count is None:
            count = cfg.count if self.strategy.sampler else _RIVALS
        if count == 0:
            return None
        name = f"{cfg.study}-random" if cfg.study else None
        cfg = replace(cfg, sampler="random", count=count, study=name)
        # Under another seed than the search's own study, whose first trials are random as well.
        drawn = self.run(cfg, self.cfg.seed + SEEDS_APART, "random", affordable=True)
        losses = [trial.values[0] for trial in drawn.complete]
        return Rivals(losses=tuple(losses), better=sum(loss < other for other in losses) / len(losses))


def _summary(result: SearchResult) -> dict[str, Any]:
    found: dict[str, Any] = {"genotype": result.genotype.name, "hash": result.genotype.hash, **result.scores}
    if result.cost is not None:
        found["cost"] = result.cost
    if result.timed is not None:
        found["timed"] = asdict(result.timed)
    rivals = {"losses": result.rivals.losses, "beaten": result.rivals.better} if result.rivals else None
    return {"found": found, "random": rivals, "stopped": result.stopped}
