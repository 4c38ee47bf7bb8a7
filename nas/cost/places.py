"""Where the open edges of a space are, and what a candidate computes there: the same code for counting and timing."""

from dataclasses import dataclass

import torch
from torch import nn

from genotypes import OPERATIONS, Genotype
from nas.cost.counting import ShapesOnly
from nas.network import build, supernet_genotype
from nas.network.edge import EdgeSteps
from search_spaces.operations import build_operation

__all__ = ["Place", "PlacedOperation", "find_places", "some_choices"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """All that a candidate's cost depends on, but for the candidate. Edges in equal places cost the same.

    source, target: (H, W) of the feature that is read and of the node. pre, post: the resampling around the operation.
    adds: the result is added to those of other edges. alone: no other edge delivers what this one does, so that for
    `none` zeros must be made.
    """

    in_width: int
    width: int
    pre: tuple[str, ...]
    post: tuple[str, ...]
    source: tuple[int, int]
    target: tuple[int, int]
    adds: bool
    alone: bool


class PlacedOperation(nn.Module):
    """A candidate in its place, in the form in which it is deployed: affine norms, no weight of a mixture."""

    def __init__(self, op: str, place: Place) -> None:
        super().__init__()
        self.place = place
        self.op = None if OPERATIONS[op].zero else build_operation(op, place.in_width, place.width)
        self.steps = EdgeSteps(place.pre, place.post)

    def forward(self, x: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        """x: [B, in_width, *source], what the edge reads; total: [B, width, *target], the other edges' sum.

        Returns the sum with this edge, as a cell computes it.
        """
        place = self.place
        if self.op is None:
            return x.new_zeros(x.shape[0], place.width, *place.target) if place.alone else total
        x = self.steps(self.op, x, place.target)
        return total + x if place.adds else x


def some_choices(space: Genotype) -> dict[str, str]:
    """A choice for every open edge: its first candidate that computes something."""
    return {
        edge: next((op for op in ops if not OPERATIONS[op].zero), ops[0]) for edge, ops in space.open_edges().items()
    }


def find_places(space: Genotype, size: tuple[int, int], *, decided: bool = False) -> dict[str, Place]:
    """Open edge (or any edge, with `decided`) -> its place, for an input of (H, W) `size`; in computing order.

    What is open beside operations is at its largest.
    """
    sizes = _feature_sizes(space, size)
    graph, places = space.graph, {}
    for name, node in graph.nodes.items():
        for order, edge in enumerate(node.edges):
            if not (edge.is_open or decided):
                continue
            summed = node.combine == "sum" and len(node.edges) > 1
            # k edges need k - 1 sums: one of them, a decided one where there is one, is charged with none.
            first = order == 0 and all(other.is_open for other in node.edges)
            assert edge.width is not None
            places[edge.id] = Place(
                in_width=graph[edge.source].width,
                width=edge.width,
                pre=edge.pre,
                post=edge.post,
                source=sizes[edge.source],
                target=sizes[name],
                adds=summed and not first,
                alone=not summed,
            )
    return places


def _feature_sizes(space: Genotype, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Feature -> (H, W), asked of a network without numbers: what backbones do to odd sizes is theirs to say."""
    sizes = {"image": size}

    def note(module: nn.Module, inputs: tuple, outputs: dict[str, torch.Tensor]) -> None:
        sizes.update({name: (feature.shape[-2], feature.shape[-1]) for name, feature in outputs.items()})

    with torch.device("meta"), torch.no_grad():
        net = build(supernet_genotype(space).decide(some_choices(space))).eval()
        for module in (net.backbone, *net.cells.values()):
            if module is not None:
                module.register_forward_hook(note)
        with ShapesOnly():
            net(torch.empty(1, 3, *size))
    return sizes
