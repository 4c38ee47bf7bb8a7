"""Random search: the baseline beside every other (Li and Talwalkar, UAI 2019)."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import torch

from nas.network import Mixture
from nas.strategies.base import Strategy, derivable, register_strategy
from nas.task import generator

__all__ = ["RandomChoice", "random_choices"]


def random_choices(
    open_edges: Mapping[str, Sequence[str]], seed: int, accept: Callable[[dict[str, str]], bool] = lambda choices: True
) -> dict[str, str]:
    """One candidate for every open edge, all alike likely: a function of the edges and the seed alone.

    accept: drawn again until it is true, as for `space.reaches_image`.
    """
    for attempt in itertools.count():
        draw = generator(seed, "random genotype", attempt)
        choices = {
            edge: candidates[int(torch.randint(len(candidates), (), generator=draw))]
            for edge, candidates in open_edges.items()
        }
        if accept(choices):
            break
    return choices


@register_strategy("random")
class RandomChoice(Strategy):
    """Draws the genotype; the supernet is not trained."""

    learns = False

    def mixture(self, step: int) -> Mixture:
        return self.net.path(self.choices())

    def choices(self) -> dict[str, str]:
        return random_choices(derivable(self.net.open_edges, self.cfg), self.seed, self.net.genotype.reaches_image)
