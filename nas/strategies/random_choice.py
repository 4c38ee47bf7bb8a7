"""Random search: the baseline beside every other (Li and Talwalkar, UAI 2019)."""

from collections.abc import Mapping, Sequence

import torch

from nas.network import Mixture
from nas.strategies.base import Strategy, derivable, register_strategy
from nas.task import generator

__all__ = ["RandomChoice", "random_choices"]


def random_choices(open_edges: Mapping[str, Sequence[str]], seed: int) -> dict[str, str]:
    """One candidate for every open edge, all alike likely: a function of the edges and the seed alone."""
    draw = generator(seed, "random genotype", 0)
    return {
        edge: candidates[int(torch.randint(len(candidates), (), generator=draw))]
        for edge, candidates in open_edges.items()
    }


@register_strategy("random")
class RandomChoice(Strategy):
    """Draws the genotype; the supernet is not trained."""

    learns = False

    def mixture(self, step: int) -> Mixture:
        return self.net.path(self.choices())

    def choices(self) -> dict[str, str]:
        return random_choices(derivable(self.net.open_edges, self.cfg), self.seed)
