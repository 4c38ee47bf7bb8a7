"""Single-path one-shot search (Guo et al., ECCV 2020) with fair sampling (FairNAS, Chu et al., ICCV 2021)."""

import torch

from nas.network import Mixture
from nas.strategies.base import Strategy, register_strategy
from nas.strategies.random_choice import random_choices
from nas.task import generator

__all__ = ["OneShot"]


@register_strategy("one_shot")
class OneShot(Strategy):
    """The supernet is trained on random single paths; evolution then looks for the best path with the weights fixed.

    An edge with n candidates goes through a new order of them every n steps: after each round every candidate was
    trained equally often, alone and beside random others. (FairNAS gathers a round's gradients into one update; here
    each path is a step, so that a step costs what it costs elsewhere.)
    """

    sampler = "evolution"

    def mixture(self, step: int) -> Mixture:
        return self.net.path(self._fair_path(step))

    def _fair_path(self, step: int) -> dict[str, str]:
        path = {}
        for row, (edge, candidates) in enumerate(self.net.open_edges.items()):
            around, place = divmod(step, len(candidates))
            order = torch.randperm(len(candidates), generator=generator(self.seed, f"fair/{row}", around))
            path[edge] = candidates[int(order[place])]
        return path

    def choices(self) -> None:
        return None

    def evaluated(self) -> Mixture:
        """One path, always the same: how far its shared weights have come."""
        return self.net.path(random_choices(self.net.open_edges, self.seed))

    def probabilities(self) -> dict[str, dict[str, float]]:
        return {edge: dict.fromkeys(ops, 1 / len(ops)) for edge, ops in self.net.open_edges.items()}
