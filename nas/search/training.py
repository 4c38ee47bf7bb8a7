"""The search: weights on one half of the photographs, architecture on the other, selection on a held-out part."""

import dataclasses
import math
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.func import functional_call

from genotypes import save
from nas.guard import dominant_eigenvalue
from nas.network import Mixture, Network, norm_statistics_frozen
from nas.run import RunFolder
from nas.run.distributed import go_on_alone, over_processes, share
from nas.search.config import SearchConfig
from nas.search.explain import ChoicesLog
from nas.search.members import search_members
from nas.search.objective import COSTS, derive
from nas.search.scoring import score_mixture, score_path
from nas.search.selection import Candidates, SearchResult, select
from nas.search.setup import SearchSetup, open_search
from nas.search.tensorboard import pictures
from nas.strategies import Differentiable, Loss, Strategy
from nas.task import Batch, generator, multi_output_loss, target
from nas.training import Change, Events, History, Progress, Task, Trainer, fit, registered_listeners, run_in

__all__ = ["SearchTask", "search", "search_trainer"]

_CELLS_EVERY = 4  # evaluations for one picture of the cells: it takes a second or two
_SHOWN = {
    "loss": "train_loss",
    "maxF": "held_out_maxF",
    "entropy": "entropy",
    "eig": "eigenvalue",
    "none": "derived_none",
    "skip": "derived_skip_connect",
}


def search(cfg: SearchConfig, run: RunFolder, *, setup: SearchSetup | None = None) -> SearchResult:
    """Search, or continue the search that `run` holds. Raises Interrupted once saved, if asked to stop.

    setup: what `open_search(cfg)` gave, where the caller has opened it already.
    """
    setup = setup or open_search(cfg, folder=run.path)
    if cfg.whole_networks:
        return search_members(cfg, run, setup)
    strategy, candidates, trainer = search_trainer(cfg, setup)
    if not strategy.learns:  # nor makes a step, so that there is no checkpoint
        run.agree(trainer.identity)
    trainer.resume(run)  # or its error: what the run began with stays
    save(setup.export, run.path / "space.yaml")
    if setup.objective:
        run.write_text(COSTS, setup.objective.to_json())

    def evaluate() -> dict[str, Any]:
        return _evaluate(cfg, setup, strategy, candidates, trainer)

    def draw() -> Mapping[str, np.ndarray]:
        last = trainer.step == trainer.steps
        return pictures(strategy, setup, cells=last or len(run.history) % _CELLS_EVERY == 0)

    listeners = [History(run), Events(run, "search", draw), Progress("search", _SHOWN), *registered_listeners(run)]
    if isinstance(strategy, Differentiable):
        listeners.append(ChoicesLog(run, strategy))
    fit(trainer, evaluate, at=lambda step: step % cfg.evaluate_every == 0, listeners=listeners, run=run)
    go_on_alone()
    return dataclasses.replace(select(cfg, run, setup, strategy, candidates), ran=trainer.summary())


def search_trainer(cfg: SearchConfig, setup: SearchSetup) -> tuple[Strategy, Candidates, Trainer]:
    """The strategy on its supernet, what it derives on the way, and what trains both."""
    strategy = cfg.strategy.build(setup.net, seed=cfg.seed, steps=cfg.steps)
    candidates = Candidates(cfg, setup)
    trainer = Trainer(
        SearchTask(cfg, setup, strategy),
        cfg.optim,
        cfg.steps if strategy.learns else 0,
        changes=[ArchitectureUpdate(cfg, setup, strategy), candidates],
        identity={"space": setup.space.hash, "set of photographs": setup.photos.fingerprint},
        capture=cfg.capture,
        compile=cfg.compile,
    )
    return strategy, candidates, trainer


class _Drawn(NamedTuple):
    weights: Batch
    architecture: Batch | None  # where the step moves the architecture


class _Made(NamedTuple):
    train: Loss
    valid: Loss | None


class SearchTask(Task):
    """The loss of the strategy's mixture on the weights' half."""

    def __init__(self, cfg: SearchConfig, setup: SearchSetup, strategy: Strategy) -> None:
        self._cfg, self._setup, self._strategy = cfg, setup, strategy
        self.generators = strategy.generators()
        self._step = 0  # the one that is under way

    @property
    def net(self) -> Network:  # type: ignore[override]
        """The strategy's supernet; it may change it on the way."""
        return self._strategy.net

    def prepare(self, step: int) -> bool:
        return self._strategy.prepare(step)

    def draw(self, step: int) -> _Drawn:
        self._step = step
        due = step >= self._cfg.warmup and step % self._cfg.architecture_every == 0
        architecture = share(self._setup.architecture.draw(step)) if due else None
        return _Drawn(share(self._setup.weights.draw(step)), architecture)

    def fixed(self, drawn: _Drawn) -> Hashable | None:
        return self._strategy.fixed(self._step)

    def make(self, drawn: _Drawn) -> _Made:
        train = self._loss_of(*self._setup.weights.make(drawn.weights))
        if drawn.architecture is None:
            return _Made(train, None)
        return _Made(train, self._loss_of(*self._setup.architecture.make(drawn.architecture)))

    def loss(self, batch: _Made) -> Tensor:
        return batch.train(self._strategy.mixture(self._step), dict(self.net.named_parameters()))

    def _loss_of(self, x: Tensor, y: Tensor) -> Loss:
        def loss(mixture: Mixture, params: dict[str, Tensor]) -> Tensor:
            return multi_output_loss(run_in(self._cfg.precision, self.net, params, x, mixture), y, self._cfg.loss)

        return over_processes(loss)


class ArchitectureUpdate(Change):
    """The strategy's step on the architecture's half, before the weights move; with the expected cost, if it counts."""

    name = "strategy"
    terms = ("valid",)

    def __init__(self, cfg: SearchConfig, setup: SearchSetup, strategy: Strategy) -> None:
        self._objective, self._strategy = setup.objective, strategy

    def before(self, trainer: Trainer, batch: _Made) -> None:
        if batch.valid is None:
            return
        with norm_statistics_frozen(trainer.net):
            loss = self._strategy.architecture_step(
                trainer.step, batch.train, self._with_cost(batch.valid), trainer.lr.value
            )
        if loss is not None:
            trainer.totals.add("valid", loss)

    def _with_cost(self, valid: Loss) -> Loss:
        objective = self._objective
        if objective is None:
            return valid
        return lambda mixture, params: valid(mixture, params) + objective.penalty(mixture.weights)

    def state_dict(self) -> dict[str, Any]:
        return self._strategy.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._strategy.load_state_dict(state)


def _evaluate(
    cfg: SearchConfig, setup: SearchSetup, strategy: Strategy, candidates: Candidates, trainer: Trainer
) -> dict[str, Any]:
    """A row of the history; the genotype that would be derived now is noted as a candidate."""
    mixture, objective, step = strategy.evaluated(), setup.objective, trainer.step
    choices = derive(strategy, objective)
    scores = (score_mixture if mixture.active is None else score_path)(strategy.net, mixture, setup)
    trainer.check(scores["loss"])
    means = trainer.totals.means()
    row: dict[str, Any] = {
        "step": step,
        "train_loss": means["train"],
        "architecture_loss": means["valid"],
        "entropy": _entropy(strategy.probabilities()),
        **{f"held_out_{name}": value for name, value in scores.items()},
    }
    derived = list(choices.values()) if choices else []
    row |= {f"derived_{op}": derived.count(op) for op in ("none", "skip_connect")}
    row["eigenvalue"] = _curvature(cfg, setup, strategy, step)
    if objective:
        row["derived_cost"] = objective.table.of(choices) if choices else math.nan
    if choices and step > cfg.warmup:
        candidates.remember(choices)
        candidates.stop = candidates.guard.observe(
            step, choices, row["entropy"], row["eigenvalue"], row["held_out_loss"]
        )
        trainer.stopped = candidates.stop is not None
    return row


def _entropy(probabilities: Mapping[str, Mapping[str, float]]) -> float:
    """Mean entropy of the edges' distributions over that of uniform ones: 1 undecided, 0 decided.

    >>> round(_entropy({"undecided": {"none": 0.5, "conv_3x3": 0.5}, "decided": {"none": 0.0, "conv_3x3": 1.0}}), 6)
    0.5
    """
    edges = [list(p.values()) for p in probabilities.values()]
    return sum(sum(-v * math.log(max(v, 1e-12)) for v in p) / math.log(len(p)) for p in edges) / len(edges)


def _curvature(cfg: SearchConfig, setup: SearchSetup, strategy: Strategy, step: int) -> float:
    """Dominant eigenvalue of the Hessian, in alpha, of the loss on some held-out images; NaN without alpha or guard,
    before alpha moves, and where a single image is held out (norms need two).

    The loss is that of the mean mixture, also where the strategy draws: a draw's would be mostly noise.
    """
    rows = setup.held_out.samples.rows[: cfg.guard.images]
    watched = cfg.guard.on and cfg.guard.iterations and step > cfg.warmup and len(rows) > 1
    if not (watched and isinstance(strategy, Differentiable)):
        return math.nan
    net = strategy.net
    x, masks = setup.held_out.samples.inputs(rows)
    y = target(masks)
    params = {name: value.detach() for name, value in net.named_parameters()}

    def loss(alpha: Tensor) -> Tensor:
        return multi_output_loss(functional_call(net, params, (x, strategy.mean(alpha))), y, cfg.loss)

    net.train()
    with norm_statistics_frozen(net):
        return dominant_eigenvalue(
            loss,
            strategy.alpha,
            generator=generator(cfg.seed, "curvature", 0),  # a few products find a like share of it every time
            iterations=cfg.guard.iterations,
        )
