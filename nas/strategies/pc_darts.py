"""PC-DARTS: partial channel connections (Xu et al., ICLR 2020)."""

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import nn

from genotypes import Genotype
from genotypes.errors import check_least
from nas.network import Mixture, Network, build
from nas.strategies.darts import Differentiable
from nas.strategies.strategy import register_strategy

__all__ = ["PartialDarts"]


@register_strategy("pc_darts")
class PartialDarts(Differentiable):
    """DARTS on 1/k of the channels (section 3.2), steadied by weights beta of whole edges (section 3.3).

    The edges that meet in a sum share a softmax of their betas. It is scaled by their number, so that at equal betas an
    edge counts as it will in the derived network, where nothing scales it. Operations are derived by alpha: our nodes
    keep all their edges, so beta, which in the paper also picks edges, only serves the search.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Differentiable.Config):
        """Options of pc_darts.

        Attributes:
            partial: 1/partial of an edge's channels is computed.
        """

        partial: int = 4

        def __post_init__(self) -> None:
            super().__post_init__()
            check_least(self, "strategy: ", partial=1)

        @property
        def decides_widths(self) -> bool:
            """No: channels are shuffled after each edge, and no mask finds them again."""
            return False

        def supernet(self, space: Genotype, weights: str | None = None) -> Network:
            return build(space, weights, share=self.partial)

    cfg: Config

    def fixed(self, step: int) -> Hashable | None:
        return ()

    def __init__(self, net: Network, cfg: Config, *, seed: int = 0, steps: int = 1) -> None:
        super().__init__(net, cfg, seed=seed, steps=steps)
        groups = _groups(net)
        device = self.alpha.device
        self.groups = torch.tensor(groups, device=device)
        self.sizes = torch.bincount(self.groups)[self.groups].to(self.alpha)
        # One more column of alpha: then all that differentiates in the architecture knows one tensor.
        beta = torch.zeros(len(groups), 1, device=device)
        self.parameters.alpha = nn.Parameter(torch.cat([self.alpha.detach(), beta], dim=1))
        self.optimizer = self.make_optimizer([self.alpha])

    def expected(self, alpha: torch.Tensor) -> torch.Tensor:
        return self.parameters.softmax(alpha[:, :-1])

    def edge_weights(self, alpha: torch.Tensor) -> torch.Tensor:
        """[open edges]: the softmax over each node's betas, times their number."""
        e = (alpha[:, -1] - alpha[:, -1].detach().max()).exp()
        total = torch.zeros_like(e).index_add(0, self.groups, e)  # as many sums as groups, and zeros
        return self.sizes * e / total[self.groups]

    def mean(self, alpha: torch.Tensor) -> Mixture:
        return Mixture(self.expected(alpha) * self.edge_weights(alpha)[:, None])


def _groups(net: Network) -> list[int]:
    """For every open edge, a number that it shares with the other open edges of the same sum."""
    graph, group = net.genotype.graph, {}
    for number, node in enumerate(graph.nodes.values()):
        for edge in node.edges:
            group[edge.id] = ("" if node.combine == "sum" else edge.id, number)
    numbers = {key: i for i, key in enumerate(dict.fromkeys(group[edge] for edge in net.open_edges))}
    return [numbers[group[edge]] for edge in net.open_edges]
