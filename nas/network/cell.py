"""A cell as a module: its nodes computed in order, from features given by name."""

from collections.abc import Mapping

import networkx
import torch
from torch import nn

from genotypes import Size, incoming
from nas.network.edge import OpenEdge, build_edge
from nas.network.mixture import Mixture
from nas.network.named import NamedModules
from nas.network.resample import resample
from search_spaces.posts import build_post

__all__ = ["CellModule"]


class CellModule(nn.Module):
    """The nodes of one cell of a flat graph.

    `edges` and `nodes` hold the modules under the names the genotype gives them; that makes the state-dict keys
    `edges.{edge}.*` and `nodes.{node}.*`. Open edges take their weights from rows of a mixture.
    """

    def __init__(self, graph: networkx.MultiDiGraph, cell: str, rows: Mapping[str, int], share: int = 1) -> None:
        super().__init__()
        self.edges = NamedModules()
        self.nodes = NamedModules()
        # A plan made once: forward only follows it, so the structure is static and compiles, exports and draws.
        self.plan = [_NodePlan(graph, name, rows) for name, node in graph.nodes(data=True) if node["cell"] == cell]
        for node in self.plan:
            self.nodes[node.key] = build_post(node.post, node.width)
            for edge in node.edges:
                if edge["op"] != "none":
                    source = graph.nodes[edge["source"]]
                    self.edges[edge["name"]] = build_edge(edge["op"], source["width"], edge["width"], share)

    def forward(self, features: dict[str, torch.Tensor], mixture: Mixture | None = None) -> dict[str, torch.Tensor]:
        """features: name -> [B, C, H, W], all that the cell reads; mixture: of the network's open edges.

        Returns the features of the cell's nodes by their full names.
        """
        known = dict(features)
        for node in self.plan:
            known[node.name] = self._node(node, known, mixture)
        return {node.name: known[node.name] for node in self.plan}

    def _node(self, node: "_NodePlan", known: dict[str, torch.Tensor], mixture: Mixture | None) -> torch.Tensor:
        size = _size(node.size, known[node.size.of])
        terms = []
        for edge in node.edges:
            gone = edge["op"] == "none" or self._inactive(edge, mixture)
            if gone and node.combine == "sum":
                continue
            x = known[edge["source"]]
            if gone:
                terms.append(x.new_zeros(x.shape[0], edge["width"], *size))
                continue
            for step in edge["pre"]:
                x = resample(x, step, size)
            module = self.edges[edge["name"]]
            if isinstance(module, OpenEdge):
                row, active = edge["row"], mixture.active
                x = module(x, mixture.weights[row], None if active is None else active[row])
            else:
                x = module(x)
            for step in edge["post"]:
                x = resample(x, step, size)
            terms.append(x)
        if node.combine == "concat":
            total = torch.cat(terms, dim=1)
        elif terms:
            total = sum(terms[1:], start=terms[0])
        else:  # every edge is `none`: what follows still acts on the zeros, as in the authors' network
            x = known[node.size.of]
            total = x.new_zeros(x.shape[0], node.width, *size)
        return self.nodes[node.key](total)

    def _inactive(self, edge: dict, mixture: Mixture | None) -> bool:
        """Whether an open edge computes `none` alone: then it is not even resampled."""
        if edge["row"] is None or mixture is None or mixture.active is None:
            return False
        module = self.edges[edge["name"]]
        return module.share == 1 and all(module.candidates[i] == "none" for i in mixture.active[edge["row"]])


class _NodePlan:
    """What the forward pass needs to know of a node, as plain data."""

    def __init__(self, graph: networkx.MultiDiGraph, name: str, rows: Mapping[str, int]) -> None:
        node = graph.nodes[name]
        self.name, self.key = name, name.split(".", 1)[1]
        self.width, self.combine, self.post, self.size = node["width"], node["combine"], node["post"], node["size"]
        self.edges = [edge | {"row": rows.get(edge["id"])} for edge in incoming(graph, name)]


def _size(rule: Size, x: torch.Tensor) -> tuple[int, int]:
    h, w = x.shape[-2:]
    if rule.rule == "like":
        return h, w
    extra = 1 if rule.rule == "ceil_half" else 0
    return max(1, (h + extra) // 2), max(1, (w + extra) // 2)
