"""Parameters and multiply-adds of a genotype and its parts, counted on a network without weights and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from genotypes import Genotype, UserError
from genotypes.errors import plural
from nas.network import Network, build
from nas.network.network import CellModule
from nas.run.sizes import parse_size

__all__ = ["BY", "Cost", "NetworkPart", "PartCost", "ShapesOnly", "check_decided", "count", "parts"]

BY = ("cell", "edge")
_SHAPE_STAYS = (F.batch_norm, F.hardtanh, F.prelu, F.relu)


@dataclass(frozen=True, kw_only=True)
class NetworkPart:
    """kind: "backbone", "cell", "edge" or "node" (the post step of a node, after its edges are combined).

    name: "(backbone)", "cell", "cell.edge" or "cell.node.post", in the genotype's words. what: the backbone's name, the
    cell's template, the edge's operation or the node's post step. module: None for an edge that computes nothing.
    """

    name: str
    kind: str
    what: str
    cell: str | None
    module: nn.Module | None


@dataclass(frozen=True, kw_only=True)
class PartCost:
    """A part's share of a network; kind, name and what as in `NetworkPart`."""

    name: str
    kind: str
    what: str
    params: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs on any machine.

    size: the (H, W) of the input. params: learnt numbers, shared ones once; the running statistics of norms are none.
    macs: multiply-adds (one multiply-add is 1) of the convolutions and matrix products of one image; norms,
    activations, pools, resizes and sums are left out, as the field's tables leave them out.
    by_cell, by_edge: the same by the genotype's parts, in computing order; each adds up to the whole.
    """

    name: str
    size: tuple[int, int]
    params: int
    macs: int
    by_cell: tuple[PartCost, ...]
    by_edge: tuple[PartCost, ...]

    @property
    def backbone_params(self) -> int:
        return sum(part.params for part in self.by_cell if part.kind == "backbone")

    @property
    def cell_params(self) -> int:
        return self.params - self.backbone_params


def count(genotype: Genotype, size: tuple[int, int] | None = None) -> Cost:
    """The cost of a decided genotype's network for one image of (H, W) `size` (None: the size it was meant for).

    Takes a second and no memory, however large the network. Raises UserError for an open genotype and a size below 32.
    """
    check_decided(genotype)
    size = parse_size(size) or genotype.input.size
    with torch.device("meta"):  # shapes without numbers
        net = build(genotype).eval()
        x = torch.empty(1, 3, *size)
    with torch.no_grad(), ShapesOnly(), FlopCounterMode(display=False) as counter:
        net(x)
    macs = _macs_by_module(net, counter)
    return Cost(
        name=genotype.name,
        size=size,
        params=sum(p.numel() for p in net.parameters()),
        macs=counter.get_total_flops() // 2,  # torch counts a multiply-add as 2
        by_cell=_shares(net, "cell", macs),
        by_edge=_shares(net, "edge", macs),
    )


class ShapesOnly(TorchFunctionMode):
    """Norms, activations and resizes of tensors without numbers (device "meta") are passed over.

    They have no multiply-adds as we count them, and torch finds their shapes by all their arithmetic, written in
    Python: most of the time that a count would take.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if args and func in _SHAPE_STAYS:  # as our modules call them; other calls are computed
            return args[0]
        if args and func is F.interpolate and isinstance(size := kwargs.get("size"), tuple | list):
            return args[0].new_empty(*args[0].shape[:2], *size)
        return func(*args, **kwargs)


def parts(net: Network, by: str) -> list[NetworkPart]:
    """The backbone and every cell, or (by="edge") the backbone and every edge and post step, in computing order.

    Together they hold all parameters, each once.
    """
    found = []
    if net.backbone is not None and net.genotype.backbone is not None:
        name = net.genotype.backbone.name
        found.append(NetworkPart(name="(backbone)", kind="backbone", what=name, cell=None, module=net.backbone))
    templates = {cell.name: cell.template for cell in net.genotype.cells}
    for name, cell in net.cells.items():
        assert isinstance(cell, CellModule)
        if by == "cell":
            found.append(NetworkPart(name=name, kind="cell", what=templates[name], cell=name, module=cell))
            continue
        for node in net.genotype.graph.cells[name]:
            for edge in node.edges:
                module = cell.edges[edge.name] if edge.carries() else None
                what = " | ".join(edge.candidates)
                found.append(NetworkPart(name=edge.id, kind="edge", what=what, cell=name, module=module))
            if node.post != "none":
                module = cell.nodes[node.local]
                found.append(
                    NetworkPart(name=f"{node.name}.post", kind="node", what=node.post, cell=name, module=module)
                )
    return found


def _shares(net: Network, by: str, macs: dict[nn.Module, int]) -> tuple[PartCost, ...]:
    return tuple(
        PartCost(
            name=part.name,
            kind=part.kind,
            what=part.what,
            params=sum(p.numel() for p in part.module.parameters()) if part.module is not None else 0,
            macs=0 if part.module is None else macs.get(part.module, 0),
        )
        for part in parts(net, by)
    )


def _macs_by_module(net: Network, counter: FlopCounterMode) -> dict[nn.Module, int]:
    """The counter calls modules by their path below the network, after the name of the network's class."""
    modules = {f"{type(net).__name__}.{path}": module for path, module in net.named_modules() if path}
    counts = counter.get_flop_counts()
    return {modules[name]: sum(ops.values()) // 2 for name, ops in counts.items() if name in modules}


def check_decided(genotype: Genotype) -> None:
    """UserError for a genotype with open choices."""
    if not genotype.is_decided:
        raise UserError(
            f"{genotype.name} has {plural(len(genotype.choices()), 'open choice')}: what it costs depends on what they "
            "become; decide them first (a search does, or genotype.decide)"
        )
