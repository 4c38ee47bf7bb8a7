"""What a trained supernet's members are worth: each scored with the supernet's weights, and a study of many.

Beside what is found stands uniform scaling, see `nas.search.uniform_scaling`.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from genotypes import Genotype, save
from genotypes.files import json_text, quoted, write_csv
from nas.cost.clock import warn_if_busy
from nas.network import Member, Network, reestimate_norms
from nas.network.weights import save_weights
from nas.report import report_at_the_end
from nas.run import RunFolder
from nas.search.config import SearchConfig
from nas.search.explain import FEW_BATCHES, explain, preferences_of
from nas.search.objective import MemberCost, time_found
from nas.search.sandwich import Sandwich
from nas.search.scoring import NORM_BATCHES, what_is_scored, what_is_seen
from nas.search.selection import SearchResult, check_found
from nas.search.setup import SearchSetup
from nas.search.uniform_scaling import scaled_line
from nas.strategies import SandwichSearch, derivable
from nas.task import Batches, at_size
from nas.training import Events, HeldOut, History, Progress, Trainer, fit, registered_listeners
from nas.trials import Trial, Trials, TrialsConfig, choices_key, draw_front, export_front, run_trials
from nas.visualize import draw
from nas.visualize.charts import CostPoint

__all__ = ["MemberScores", "score_network", "search_members", "study_members"]

_KINDS = ("loss", "maxF", "MAE_raw")  # of scores, in line.csv


class MemberScores:
    """Held-out scores of members with the supernet's weights, their norms estimated anew; each member once.

    Maps are brought to the held-out photographs' size, whatever the member's own: all are judged alike.
    """

    def __init__(
        self, supernet: Network, batches: Batches, held_out: HeldOut, *, norm_batches: int | None = None
    ) -> None:
        self.supernet, self._batches, self._held_out = supernet, batches, held_out
        self._norm_batches = norm_batches or NORM_BATCHES
        self._known: dict[Any, dict[str, float]] = {}

    def network(self, genotype: Genotype) -> Network:
        """The member as a network of its own, ready to use."""
        net = Member(self.supernet, genotype).copy()
        size = genotype.input.size
        reestimate_norms(net, (at_size(self._batches(step)[0], size) for step in range(self._norm_batches)))
        return net

    def __call__(self, genotype: Genotype) -> dict[str, float]:
        """Loss, maxF and MAE_raw."""
        if genotype.identity not in self._known:
            self._known[genotype.identity] = score_network(self.network(genotype), self._held_out)
        return self._known[genotype.identity]


def score_network(net: Network, held_out: HeldOut) -> dict[str, float]:
    """Held-out scores of a network that sees the photographs at its genotype's size."""
    return held_out.score(_at_its_size(net))


def _at_its_size(net: Network) -> Callable[[Tensor], list[Tensor]]:
    """The network, in eval mode, as a function of photographs of any size: it sees them at its genotype's."""
    size = net.genotype.input.size
    net.eval()

    def forward(x: Tensor) -> list[Tensor]:
        whole = (x.shape[-2], x.shape[-1])
        return [at_size(logits, whole) for logits in net(at_size(x, size))]

    return forward


def study_members(
    space: Genotype,
    score: Callable[[Genotype], Mapping[str, float]],
    cost: MemberCost,
    cfg: TrialsConfig,
    *,
    choices: Mapping[str, Sequence[Any]] | None = None,
    **options: Any,
) -> Trials:
    """Try members one after another (a Gaussian process, TPE, ...): trials of (loss, cost), smaller is better.

    The first are the points of uniform scaling, half of the trials at most: random members seldom come near it.
    choices: what may be tried, default all that the space leaves open. options: as `run_trials` has them.
    """

    def values(chosen: Mapping[str, Any], report: Any) -> Sequence[float]:
        genotype = space.decide(chosen)
        return [score(genotype)["loss"], cost(genotype)]

    known: dict[Hashable, Hashable] = {}

    def identify(chosen: Mapping[str, Any]) -> Hashable:
        """A choice about what a member leaves out (blocks behind the last tap, say) makes no other member."""
        key = choices_key(chosen)
        if key not in known:
            known[key] = space.decide(chosen).identity if space.reaches_image(chosen) else key
        return known[key]

    objectives = ("loss", cost.kind)
    choices = space.choices() if choices is None else choices
    line = scaled_line(space, max(1, cfg.count // 2)) if cfg.sampler != "random" else []
    first = [point for point in line if all(point[choice] in choices[choice] for choice in choices)]
    return run_trials(
        choices,
        values,
        cfg,
        objectives=objectives,
        accept=space.reaches_image,
        identify=identify,
        first=first,
        **options,
    )


def search_members(cfg: SearchConfig, run: RunFolder, setup: SearchSetup) -> SearchResult:
    """Train the supernet, study its members by loss and cost, write the front beside the scaled line, and the result.

    RUN/weights.safetensors are the found member's own: it is ready to be used without retraining.
    """
    ran = _train_supernet(cfg, run, setup)
    scores = MemberScores(setup.net, setup.weights, setup.held_out)
    cost = MemberCost(cfg.cost or "macs", device=setup.device, runtime=cfg.runtime)
    choices = {**setup.space.choices(), **derivable(setup.space.open_edges(), cfg.strategy)}
    points = scaled_line(setup.space)
    with warn_if_busy("the members' times mislead") if cfg.cost == "latency" else nullcontext():
        trials = study_members(
            setup.space,
            scores,
            cost,
            setup.study,
            choices=choices,
            seed=cfg.seed,
            scored=what_is_scored(cfg, setup),
            seen=what_is_seen(cfg, setup),
            folder=run.path,
            interrupts=run.interrupts,
            to_continue=f"--out {quoted(run.path)} --resume",
        )
        line = [
            {"size": member.input.size[0], cost.kind: cost(member)} | {kind: scores(member)[kind] for kind in _KINDS}
            for member in map(setup.space.decide, points)
        ]
    write_csv(run.path / "line.csv", line)
    name = f"{setup.space.name}_{cfg.strategy.name}"
    check_found(run, trials.best.values[0])
    front = tuple(export_front(setup.space, trials, run.path / "front", name=name))
    # Of few trials not all points of uniform scaling are among them, but what is found must not be worse than any.
    rivals = (
        Trial(number=len(trials.trials) + index, state="complete", choices=point, values=(row["loss"], row[cost.kind]))
        for index, (point, row) in enumerate(zip(points, line, strict=True))
        if math.isfinite(row["loss"]) and all(point[choice] in choices[choice] for choice in choices)
    )
    best = replace(trials, trials=(*trials.trials, *rivals)).best_within(cfg.budget, cost.unit)
    check_found(run, best.values[0], cfg.budget)
    draw_front(
        trials,
        run.path / "front.svg",
        labels=("held-out loss", f"{cost.kind} ({cost.unit})"),
        title=setup.space.name,
        marked=[best],
        beside={"uniform scaling": [CostPoint(x=point[cost.kind], y=point["loss"]) for point in line]},
    )
    genotype = setup.space.decide(best.choices, name=name)
    save(genotype, run.path / "genotype.yaml")
    draw(genotype, run.path / "cells.svg")
    net = scores.network(genotype)
    save_weights(run.path / "weights.safetensors", net.state_dict(), genotype)
    found = scores(genotype)
    rough = MemberScores(setup.net, setup.weights, setup.held_out, norm_batches=FEW_BATCHES)

    def loss(choices: Mapping[str, Any]) -> float:
        """Of the member with these instead of its own; NaN for what ignores the image."""
        chosen = {**best.choices, **choices}
        return rough(setup.space.decide(chosen))["loss"] if setup.space.reaches_image(chosen) else math.nan

    chosen = setup.space.chosen(genotype)
    explain(run, setup, _at_its_size(net), chosen, preferences_of(trials), loss, seconds=cfg.worth_seconds)
    spent = best.values[1]
    timed = time_found(cfg, genotype, setup.device)
    summary = {"genotype": name, "hash": genotype.hash, "size": list(genotype.input.size), "cost": spent}
    summary |= {"kind": cost.kind, "unit": cost.unit} | ({"timed": asdict(timed)} if timed else {})
    line_loss = min((point["loss"] for point in line if point[cost.kind] <= spent * (1 + 1e-9)), default=None)
    run.write_text("scores.json", json_text({"found": summary | found, "line_loss": line_loss}))
    run.close()
    report_at_the_end(run.path)
    return SearchResult(
        genotype=genotype,
        scores=found,
        path=run.path,
        cost=spent,
        front=front,
        line_loss=line_loss,
        timed=timed,
        ran=ran,
    )


def _train_supernet(cfg: SearchConfig, run: RunFolder, setup: SearchSetup) -> str | None:
    """Train `setup.net`, or go on; how the steps ran, see `SearchResult.ran`."""
    assert isinstance(cfg.strategy, SandwichSearch.Config)
    task = Sandwich(
        setup.net,
        setup.space,
        setup.weights,
        cfg.loss,
        cfg.strategy,
        steps=cfg.steps,
        seed=cfg.seed,
        precision=cfg.precision,
    )
    trainer = Trainer(
        task,
        cfg.optim,
        cfg.steps,
        identity={"space": setup.space.hash, "set of photographs": setup.photos.fingerprint},
        capture=cfg.capture,
    )
    trainer.resume(run)  # or its error: what the run began with stays
    save(setup.space, run.path / "space.yaml")

    def evaluate() -> dict[str, Any]:
        scores = MemberScores(setup.net, setup.weights, setup.held_out)  # anew: the weights have moved
        row = {"step": trainer.step, "train_loss": trainer.totals.means()["train"]}
        for which, member in (("largest", task.largest), ("smallest", task.smallest)):
            row |= {f"{which}_{name}": value for name, value in scores(member.genotype).items()}
        return row

    shown = {"loss": "train_loss", "largest": "largest_MAE_raw", "smallest": "smallest_MAE_raw"}
    listeners = [History(run), Events(run, "search", dict), Progress("search", shown), *registered_listeners(run)]
    fit(trainer, evaluate, at=lambda step: step % cfg.evaluate_every == 0, listeners=listeners, run=run)
    return trainer.capture.summary()
