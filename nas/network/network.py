"""From a genotype to a network: decided or open, by the same code."""

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import nn

from genotypes import Edge, Genotype, Graph, Node, UserError
from nas.network.edge import EdgeSteps, Mixture, MixtureRow, NamedModules, OpenEdge, build_edge
from nas.network.weights import check_lender
from nas.network.widths import OpenWidths, takes_mask
from nas.run.device import sent
from search_spaces.backbones import build_backbone
from search_spaces.backbones.layers import scaled_channels
from search_spaces.steps import build_post, resize

__all__ = ["CellModule", "Network", "build", "edge_key", "node_key", "to_device"]


def edge_key(edge: str) -> str:
    """Under which key of a network the module of the edge "cell.edge" is."""
    return f"cells.{edge.replace('.', '.edges.', 1)}"


def node_key(node: str) -> str:
    """Under which key of a network the module of the node "cell.node" is: its norm and activation."""
    return f"cells.{node.replace('.', '.nodes.', 1)}"


class _PlannedEdge(NamedTuple):
    """An edge, its way of computing, and its row in a mixture if it is open."""

    edge: Edge
    steps: EdgeSteps
    row: int | None


class CellModule(nn.Module):
    """The nodes of one cell of a flat graph, computed in order.

    `edges` and `nodes` hold the modules under the names the genotype gives them; that makes the state-dict keys
    `edges.{edge}.*` and `nodes.{node}.*`. Open edges take their weights from a mixture: `rows` says which row is whose.
    """

    def __init__(self, graph: Graph, cell: str, rows: Mapping[str, int], share: int, affine: bool) -> None:
        super().__init__()
        self.edges = NamedModules()
        self.nodes = NamedModules()
        # A plan made once: forward only follows it, so the structure is static and compiles, exports and draws.
        self.plan: list[tuple[Node, list[_PlannedEdge]]] = []
        for node in graph.cells[cell]:
            self.nodes[node.local] = build_post(node.post, node.width)
            for edge in node.edges:
                if edge.carries():
                    assert edge.width is not None
                    self.edges[edge.name] = build_edge(edge.op, graph[edge.source].width, edge.width, share, affine)
            planned = [_PlannedEdge(edge, EdgeSteps(edge.pre, edge.post), rows.get(edge.id)) for edge in node.edges]
            self.plan.append((node, planned))
        self._take_masks = {node.name for node, _ in self.plan if takes_mask(node)}

    def forward(
        self,
        features: dict[str, torch.Tensor],
        rows: Sequence[MixtureRow] | None = None,
        masks: Mapping[str, torch.Tensor] | None = None,
    ) -> dict[str, torch.Tensor]:
        """features: name -> [B, C, H, W], all that the cell reads; rows: of the mixture of the network's open edges;
        masks: see `Masks.features`.

        Returns the features of the cell's nodes by their full names.
        """
        known = dict(features)
        for node, edges in self.plan:
            known[node.name] = self._node(node, edges, known, rows)
            if masks and node.name in masks and node.name in self._take_masks:
                known[node.name] = scaled_channels(known[node.name], masks[node.name])
        return {node.name: known[node.name] for node, _ in self.plan}

    def _node(
        self, node: Node, edges: list[_PlannedEdge], known: dict[str, torch.Tensor], rows: Sequence[MixtureRow] | None
    ) -> torch.Tensor:
        assert node.size is not None
        like = known[node.size.of]
        size = node.size.apply(*like.shape[-2:])
        terms = []
        for edge, steps, row in edges:
            module = self.edges[edge.name] if edge.name in self.edges else None  # noqa: SIM401
            arguments: tuple = ()
            if isinstance(module, OpenEdge):
                assert rows is not None and row is not None
                arguments = rows[row]
                module = module if module.carries(arguments[1]) else None
            if module is not None:
                term = steps(module, known[edge.source], size, *arguments)
                _check_delivered(term, edge, size)
                terms.append(term)
            elif node.combine == "concat":
                assert edge.width is not None
                terms.append(like.new_zeros(like.shape[0], edge.width, *size))
        if node.combine == "concat":
            total = torch.cat(terms, dim=1)
        elif terms:
            total = sum(terms[1:], start=terms[0])
        else:  # every edge is `none`: what follows still acts on the zeros, as in the authors' network
            total = like.new_zeros(like.shape[0], node.width, *size)
        return self.nodes[node.local](total)


def _check_delivered(term: torch.Tensor, edge: Edge, size: tuple[int, int]) -> None:
    """UserError unless an edge delivers its width at its node's (H, W); a sum would broadcast one channel or pixel.

    Not while a graph is captured, which would come to hold for these sizes alone.
    """
    if torch.compiler.is_compiling() or tuple(term.shape[1:]) == (edge.width, *size):
        return
    found, wanted = (" x ".join(map(str, shape)) for shape in (term.shape[1:], (edge.width, *size)))
    raise UserError(
        f"edge {edge.id} delivers {found} (channels, height, width), its node takes {wanted}: does a pool round odd "
        "sides as the node's size does (avg2 down, avg2_ceil up)? Does a plugin's operation keep height and width?"
    )


class Network(nn.Module):
    """The network a genotype describes; with open edges or widths it is a supernet.

    State-dict keys: `backbone.*` (the backbone's own), `cells.{cell}.edges.{edge}.*` (for an open edge
    `cells.{cell}.edges.{edge}.ops.{operation}.*`) and `cells.{cell}.nodes.{node}.*`. Made by `build`.

    open_edges, widths: see `Genotype.open_edges` and `OpenWidths`. choices: both, in the order of a mixture's rows.
    """

    def __init__(self, genotype: Genotype, weights: str | Path | None, share: int, affine: bool) -> None:
        super().__init__()
        graph = genotype.graph
        self.genotype = genotype
        self.open_edges = graph.open
        self.widths = OpenWidths(genotype)
        self.choices: dict[str, tuple[Any, ...]] = {**self.open_edges, **self.widths.choices}
        for choice in genotype.choices():
            if choice not in self.choices:
                raise UserError(f"{genotype.name}: {choice} is open; decide it before building the network")
        self.backbone = None
        if weights is not None:
            check_lender(weights, genotype)
        if genotype.backbone is not None:
            chosen = genotype.backbone
            widths = chosen.hidden if chosen.widths else ()
            self.backbone = build_backbone(chosen.name, chosen.taps, weights=weights, widths=widths, **chosen.options)
            masked = any(choice.startswith("backbone.") for choice in self.widths.choices)
            if masked and "masks" not in signature(self.backbone.forward).parameters:
                raise UserError(
                    f"backbone {chosen.name!r}: its widths cannot be mixed, for its forward takes no masks of hidden "
                    "channels (search_spaces.backbones.layers.InvertedResidual does); take --strategy sandwich"
                )
        rows = {edge: row for row, edge in enumerate(self.open_edges)}
        self.cells = NamedModules({cell: CellModule(graph, cell, rows, share, affine) for cell in graph.cells})
        self._kept = _read_later(graph)

    def forward(self, x: torch.Tensor, mixture: Mixture | torch.Tensor | None = None) -> list[torch.Tensor]:
        """Logits [B, 1, H, W], finest output first.

        x: [B, 3, H, W], normalised by the genotype's mean and std, any H and W from 32 up.
        mixture: for a supernet, how much each candidate counts; a tensor is taken as its weights, None mixes all
        candidates alike. Where widths are open it masks channels, see `OpenWidths`.
        """
        if mixture is None and self.choices:
            mixture = self.uniform_weights(x)
        if isinstance(mixture, torch.Tensor):
            mixture = Mixture(mixture)
        rows = None if mixture is None else mixture.rows()
        masks = None
        if mixture is not None and self.widths.choices:
            masks = self.widths(mixture.weights[len(self.open_edges) :])
        features = {"image": x}
        if self.backbone is not None:
            features |= self.backbone(x, masks.blocks) if masks and masks.blocks else self.backbone(x)
        for name, cell in self.cells.items():
            features |= cell(features, rows, masks.features if masks else None)
            # Without gradients this is what bounds the memory: a decoder reads most of its features once.
            features = {feature: value for feature, value in features.items() if feature in self._kept[name]}
        size = (x.shape[-2], x.shape[-1])
        return [resize(features[output], size, mode="bilinear") for output in self.genotype.outputs]

    def path(self, choices: Mapping[str, Any]) -> Mixture:
        """The mixture that computes only what is chosen, with weight 1; choices: a candidate for each of `choices`."""
        chosen = [candidates.index(choices[choice]) for choice, candidates in self.choices.items()]
        weights = torch.zeros(len(chosen), max(map(len, self.choices.values())))
        weights[range(len(chosen)), chosen] = 1.0
        computed = [(index,) for index in chosen[: len(self.open_edges)]]
        return Mixture(sent(weights, next(self.parameters()).device), computed)

    def uniform_weights(self, like: torch.Tensor) -> torch.Tensor:
        """[choices, most candidates]: 1/n for each of a choice's n candidates, zeros beyond."""
        counts = [len(candidates) for candidates in self.choices.values()]
        return torch.tensor([[1 / n] * n + [0.0] * (max(counts) - n) for n in counts]).to(like)


def _read_later(graph: Graph) -> dict[str, set[str]]:
    """Cell -> the features that cells after it, or the outputs, still read."""
    kept, needed = {}, set(graph.outputs)
    for cell, nodes in reversed(list(graph.cells.items())):
        kept[cell] = set(needed)
        for node in nodes:
            needed |= {edge.source for edge in node.edges} | ({node.size.of} if node.size else set())
    return kept


M = TypeVar("M", bound=nn.Module)


def to_device(module: M, device: torch.device | str) -> M:
    """The module on a device, with its weights channels last, as its inputs are."""
    moved: M = cast(Any, module).to(device, memory_format=torch.channels_last)  # torch's stubs lack memory_format
    return moved


def build(genotype: Genotype, weights: str | Path | None = None, *, share: int = 1, affine: bool = False) -> Network:
    """The network of a genotype. weights: a file of backbone weights, or "package" (see `search_spaces.backbones`).

    share: in a supernet, candidates compute 1/share of the channels, see `OpenEdge`. affine: whether the norms in the
    candidates of open edges are: in a mixture they must not be, where only members are computed they may.

    >>> import genotypes, nas, torch
    >>> net = nas.build(genotypes.load("fpn_tiny"))
    >>> [tuple(y.shape) for y in net(torch.zeros(1, 3, 97, 131))]
    [(1, 1, 97, 131), (1, 1, 97, 131), (1, 1, 97, 131)]
    """
    return Network(genotype, weights, share, affine)
