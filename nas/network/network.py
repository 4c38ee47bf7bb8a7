"""From a genotype to a network: decided or open, by the same code."""

import os
from pathlib import Path

import torch
from torch import nn

from genotypes import Genotype, UserError
from nas.network.cell import CellModule
from nas.network.named import NamedModules
from nas.network.resample import resample
from search_spaces.backbones import build_backbone

__all__ = ["Network", "build"]


class Network(nn.Module):
    """The network a genotype describes; with open edges it is a supernet.

    State-dict keys: `backbone.*` (the backbone's own), `cells.{cell}.edges.{edge}.*` (for an open edge
    `cells.{cell}.edges.{edge}.ops.{operation}.*`) and `cells.{cell}.nodes.{node}.*`.
    """

    def __init__(self, genotype: Genotype, weights: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        if genotype.open_widths():
            first = next(iter(genotype.open_widths()))
            raise UserError(f"{genotype.name}: its width {first} is open; decide it before building the network")
        self.genotype = genotype
        self.open_edges = genotype.open_edges()
        graph = genotype.graph
        self.backbone = None
        if genotype.backbone is not None:
            path = None if weights is None else Path(weights)
            options = dict(genotype.backbone.options)
            self.backbone = build_backbone(genotype.backbone.name, genotype.backbone.taps, weights=path, **options)
        rows = {edge: row for row, edge in enumerate(self.open_edges)}
        order = dict.fromkeys(node["cell"] for _, node in graph.nodes(data=True) if node["cell"])
        self.cells = NamedModules({cell: CellModule(graph, cell, rows) for cell in order})

    def forward(self, x: torch.Tensor, weights: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Logits [B, 1, H, W], finest output first.

        x: [B, 3, H, W], normalised by the genotype's mean and std, any H and W from 32 up.
        weights: for a supernet, [open edges, candidates]: how much each candidate counts, rows in the order of
        `open_edges`; None mixes all candidates alike.
        """
        if weights is None and self.open_edges:
            weights = self.uniform_weights(x)
        features = {"image": x}
        if self.backbone is not None:
            features |= self.backbone(x)
        for cell in self.cells.values():
            features |= cell(features, weights)
        size = tuple(x.shape[-2:])
        return [resample(features[output], "bilinear", size) for output in self.genotype.outputs]

    def uniform_weights(self, like: torch.Tensor) -> torch.Tensor:
        """[open edges, most candidates]: 1/n for each of an edge's n candidates, zeros beyond."""
        counts = [len(candidates) for candidates in self.open_edges.values()]
        return torch.tensor([[1 / n] * n + [0.0] * (max(counts) - n) for n in counts]).to(like)


def build(genotype: Genotype, weights: str | os.PathLike[str] | None = None) -> Network:
    """The network of a genotype. weights: a file of backbone weights (see `search_spaces.backbones`).

    >>> import genotypes, nas, torch
    >>> net = nas.build(genotypes.load("fpn_tiny"))
    >>> [tuple(y.shape) for y in net(torch.zeros(1, 3, 97, 131))]
    [(1, 1, 97, 131), (1, 1, 97, 131), (1, 1, 97, 131)]
    """
    return Network(genotype, weights)
