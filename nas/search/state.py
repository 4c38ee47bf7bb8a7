"""Everything a search changes while it runs: saved and restored as one."""

import dataclasses
import math
from typing import Any

from nas.guard import CollapseGuard, Stop
from nas.network import Network
from nas.optim import make_optimizer
from nas.search.config import SearchConfig
from nas.search.objective import CostObjective
from nas.strategies import derivable

__all__ = ["SearchState"]


class SearchState:
    """Strategy with its supernet, optimiser, the step to do next, running sums of losses, genotypes derived so far."""

    def __init__(self, cfg: SearchConfig, net: Network) -> None:
        self.cfg = cfg
        self.strategy = cfg.strategy.build(net, seed=cfg.seed, steps=cfg.steps)
        self.optimizer = make_optimizer(net, cfg.optim)
        self.step = 0
        self.sums = {"train": 0.0, "valid": 0.0, "train_count": 0, "valid_count": 0}
        self.derived: list[dict[str, str]] = []
        self.guard = CollapseGuard(cfg.guard, net.open_edges, cfg.evaluations)
        self.stop: Stop | None = None

    @property
    def net(self) -> Network:
        """The supernet; a strategy may change it on the way."""
        return self.strategy.net

    def prepare(self) -> None:
        """Let the strategy change the supernet before the next step; what is new starts without momentum."""
        if self.strategy.prepare(self.step):
            self.optimizer = make_optimizer(self.net, self.cfg.optim)

    def derive(self, objective: CostObjective | None) -> dict[str, str] | None:
        """The operations that would be chosen now, within the budget if there is one; None before trials.

        Choices that would cut the image off are changed on the edges where that is least improbable.
        """
        choices = objective.derive(self.strategy) if objective else self.strategy.choices()
        if choices is None or self.net.genotype.reaches_image(choices):
            return choices
        likely = derivable(self.net.open_edges, self.cfg.strategy)
        rows = self.strategy.probabilities()
        prices = {edge: {op: -math.log(max(rows[edge][op], 1e-30)) for op in ops} for edge, ops in likely.items()}
        return self.net.genotype.graph.reconnect(choices, prices)[0]

    def remember(self, choices: dict[str, str], keep: int) -> None:
        """Keep the last `keep` different derived genotypes, the newest last."""
        self.derived = [*(old for old in self.derived if old != choices), choices][-keep:]

    def state_dict(self) -> dict[str, Any]:
        return {
            "space_hash": self.net.genotype.hash,
            "step": self.step,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "strategy": self.strategy.state_dict(),
            "sums": self.sums,
            "derived": self.derived,
            "guard": self.guard.state_dict(),
            "stop": dataclasses.asdict(self.stop) if self.stop else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.sums, self.derived = state["step"], state["sums"], state["derived"]
        self.guard.load_state_dict(state["guard"])
        self.stop = Stop(**state["stop"]) if state["stop"] else None
        before = self.net
        self.strategy.load_state_dict(state["strategy"])
        if self.net is not before:
            self.optimizer = make_optimizer(self.net, self.cfg.optim)
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
