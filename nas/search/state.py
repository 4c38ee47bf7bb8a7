"""Everything a search changes while it runs: saved and restored as one."""

from typing import Any

from nas.network import Network
from nas.optim import make_optimizer
from nas.search.config import SearchConfig
from nas.strategies import STRATEGIES

__all__ = ["SearchState"]


class SearchState:
    """Supernet, optimiser, strategy, the step to do next, running sums of losses and the genotypes derived so far."""

    def __init__(self, cfg: SearchConfig, net: Network) -> None:
        self.net = net
        self.optimizer = make_optimizer(net, cfg.optim)
        self.strategy = STRATEGIES[cfg.strategy](net, cfg.architecture, cfg.seed)
        self.step = 0
        self.sums = {"train": 0.0, "valid": 0.0, "train_count": 0, "valid_count": 0}
        self.derived: list[dict[str, str]] = []

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
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.sums, self.derived = state["step"], state["sums"], state["derived"]
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.strategy.load_state_dict(state["strategy"])
