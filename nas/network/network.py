"""From a genotype to a network: decided or open, by the same code."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from genotypes import Genotype, UserError
from nas.network.cell import CellModule
from nas.network.mixture import Mixture
from nas.network.named import NamedModules
from nas.network.resample import resample
from search_spaces.backbones import build_backbone

__all__ = ["Network", "build"]


class Network(nn.Module):
    """The network a genotype describes; with open edges it is a supernet.

    State-dict keys: `backbone.*` (the backbone's own), `cells.{cell}.edges.{edge}.*` (for an open edge
    `cells.{cell}.edges.{edge}.ops.{operation}.*`) and `cells.{cell}.nodes.{node}.*`.
    """

    def __init__(self, genotype: Genotype, weights: str | Path | None = None, share: int = 1) -> None:
        super().__init__()
        if genotype.open_widths():
            first = next(iter(genotype.open_widths()))
            raise UserError(f"{genotype.name}: its width {first} is open; decide it before building the network")
        self.genotype = genotype
        self.open_edges = genotype.open_edges()
        graph = genotype.graph
        self.backbone = None
        if genotype.backbone is not None:
            options = dict(genotype.backbone.options)
            self.backbone = build_backbone(genotype.backbone.name, genotype.backbone.taps, weights=weights, **options)
        rows = {edge: row for row, edge in enumerate(self.open_edges)}
        order = dict.fromkeys(node["cell"] for _, node in graph.nodes(data=True) if node["cell"])
        self.cells = NamedModules({cell: CellModule(graph, cell, rows, share) for cell in order})
        self._kept = _read_later(self.cells, genotype.outputs)

    def forward(self, x: torch.Tensor, mixture: Mixture | torch.Tensor | None = None) -> list[torch.Tensor]:
        """Logits [B, 1, H, W], finest output first.

        x: [B, 3, H, W], normalised by the genotype's mean and std, any H and W from 32 up.
        mixture: for a supernet, how much each candidate counts; a tensor is taken as its weights, None mixes all
        candidates alike.
        """
        if mixture is None and self.open_edges:
            mixture = self.uniform_weights(x)
        if isinstance(mixture, torch.Tensor):
            mixture = Mixture(mixture)
        features = {"image": x}
        if self.backbone is not None:
            features |= self.backbone(x)
        for name, cell in self.cells.items():
            features |= cell(features, mixture)
            # Without gradients this is what bounds the memory: a decoder reads most of its features once.
            features = {feature: value for feature, value in features.items() if feature in self._kept[name]}
        size = tuple(x.shape[-2:])
        return [resample(features[output], "bilinear", size) for output in self.genotype.outputs]

    def path(self, choices: Mapping[str, str]) -> Mixture:
        """The mixture that computes only the chosen operation of every open edge, with weight 1."""
        chosen = [candidates.index(choices[edge]) for edge, candidates in self.open_edges.items()]
        weights = torch.zeros(len(chosen), max(map(len, self.open_edges.values())))
        weights[range(len(chosen)), chosen] = 1.0
        return Mixture(weights.to(next(self.parameters()).device), [(index,) for index in chosen])

    def uniform_weights(self, like: torch.Tensor) -> torch.Tensor:
        """[open edges, most candidates]: 1/n for each of an edge's n candidates, zeros beyond."""
        counts = [len(candidates) for candidates in self.open_edges.values()]
        return torch.tensor([[1 / n] * n + [0.0] * (max(counts) - n) for n in counts]).to(like)


def _read_later(cells: Mapping[str, CellModule], outputs: tuple[str, ...]) -> dict[str, set[str]]:
    """Cell -> the features that cells after it, or the outputs, still read."""
    kept, needed = {}, set(outputs)
    for name, cell in reversed(cells.items()):
        kept[name] = set(needed)
        for node in cell.plan:
            needed |= {node.size.of, *(edge["source"] for edge in node.edges)}
    return kept


def build(genotype: Genotype, weights: str | Path | None = None, *, share: int = 1) -> Network:
    """The network of a genotype. weights: a file of backbone weights, or "package" (see `search_spaces.backbones`).

    share: in a supernet, candidates compute 1/share of the channels, see `OpenEdge`.

    >>> import genotypes, nas, torch
    >>> net = nas.build(genotypes.load("fpn_tiny"))
    >>> [tuple(y.shape) for y in net(torch.zeros(1, 3, 97, 131))]
    [(1, 1, 97, 131), (1, 1, 97, 131), (1, 1, 97, 131)]
    """
    return Network(genotype, weights, share)
