"""Members of a space: decided genotypes whose tensors are views of one supernet's.

A member has no memory of its own. It is built on the meta device by the one builder; what it computes with are the
supernet's tensors: renamed (an operation's are its candidate's), sliced (the first channels of what is narrower) or
gathered (where channels of several features lie side by side, and the middle of a larger kernel, as in Once-for-All,
Cai et al., ICLR 2020).
`torch.func.functional_call` runs it, so gradients reach the supernet by themselves.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from genotypes import OPERATIONS, Genotype, GenotypeError, UserError
from nas.network.channels import channels_of, keeps_channels
from nas.network.network import Network, build, edge_key, node_key, to_device
from nas.run.device import sent
from search_spaces.operations import build_operation

__all__ = [
    "Member",
    "by_parameters",
    "extreme",
    "fill_from_supernet",
    "inherit",
    "supernet_genotype",
    "under_supernet_keys",
    "widen_share",
]


class _Origin(NamedTuple):
    """Where a member's tensor comes from: the supernet's key, and for each dimension what is taken of it.

    key "": the supernet has none, and it is a norm's constant `fill`. A dimension takes all (None), the first n, or
    some of the channels (or of a kernel's rows or columns).
    """

    key: str
    take: tuple[int | Tensor | None, ...] = ()
    fill: float = 0.0

    def tensor(self, state: Mapping[str, Tensor], like: Tensor, device: torch.device) -> Tensor:
        """The tensor, of the supernet's by their keys; like: of its shape and type."""
        if not self.key:
            return torch.full_like(like, self.fill, device=device)
        found = state[self.key]
        for dim, what in enumerate(self.take):
            if isinstance(what, Tensor):
                found = found.index_select(dim, what.to(found.device))
            elif what is not None:
                found = found.narrow(dim, 0, what)
        return found


class Member:
    """A decided genotype of a supernet's space, computed with the supernet's tensors.

    >>> import search_spaces, nas, torch
    >>> space = search_spaces.compact("mobilenet_v2", sizes=(64, 96))
    >>> supernet = nas.build(supernet_genotype(space), affine=True)
    >>> member = Member(supernet, space.decide(extreme(space, "smallest")))
    >>> [tuple(logits.shape) for logits in member(torch.zeros(2, 3, 64, 64))]
    [(2, 1, 64, 64)]

    Raises UserError where the supernet lacks a tensor that the genotype needs, or has a smaller one.
    """

    def __init__(self, supernet: Network, genotype: Genotype) -> None:
        self.supernet, self.genotype = supernet, genotype
        with torch.device("meta"):
            self.net = build(genotype)
        state = supernet.state_dict()
        shapes = {key: value.shape for key, value in self.net.state_dict().items()}
        device = next(supernet.parameters()).device
        self._origins = {  # channels that are gathered are listed on the device: a step must not copy them there
            key: origin._replace(take=tuple(sent(t, device) if isinstance(t, Tensor) else t for t in origin.take))
            for key, origin in _origins(genotype, shapes, supernet.genotype, state).items()
        }
        self._buffers = {key for key, _ in self.net.named_buffers()}

    def __call__(self, x: Tensor, *, keep_statistics: bool = False) -> list[Tensor]:
        """As `Network.forward`, in the mode of `self.net`. keep_statistics: norms update the supernet's statistics."""
        state = self.state()
        if not keep_statistics and self.net.training:
            state = {key: value.clone() if key in self._buffers else value for key, value in state.items()}
        logits: list[Tensor] = functional_call(self.net, state, (x,))
        return logits

    def state(self) -> dict[str, Tensor]:
        """The member's parameters and buffers: views of the supernet's, or gathered from them; gradients pass."""
        tensors = dict(self.supernet.named_parameters()) | dict(self.supernet.named_buffers())
        device = next(self.supernet.parameters()).device
        own = self.net.state_dict()
        return {key: origin.tensor(tensors, own[key], device) for key, origin in self._origins.items()}

    def copy(self) -> Network:
        """A network of its own with the member's weights, on the supernet's device."""
        net = build(self.genotype).to(next(self.supernet.parameters()).device)
        net.load_state_dict({key: value.detach() for key, value in self.state().items()})
        return net


@torch.no_grad()
def fill_from_supernet(net: Network, space: Genotype, state: Mapping[str, Tensor]) -> None:
    """Copy a member's share of a supernet's state dict into its own network; UserError where it has none."""
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    origins = _origins(net.genotype, shapes, supernet_genotype(space), state)
    for key, value in net.state_dict().items():  # shares memory with the network
        value.copy_(origins[key].tensor(state, value, value.device))


def inherit(supernet: Network, genotype: Genotype) -> Network:
    """The network of `genotype`, a member of the supernet's space, with a copy of the supernet's weights.

    Norms that are not affine in the supernet start at scale 1 and shift 0. Norm statistics are the supernet's:
    re-estimate them (`reestimate_norms`) before judging the network.
    """
    return Member(supernet, genotype).copy()


def under_supernet_keys(genotype: Genotype, source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A decided network's tensors under the keys that a supernet of its space has for the same operations."""
    prefixes = {f"{edge_key(edge)}.": f"{edge_key(edge)}.ops.{op}." for edge, op in genotype.graph.operations().items()}
    lent = {}
    for key, value in source.items():
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), None)
        lent[key] = value  # edges that are decided in the space, too, keep their names
        if prefix is not None:
            lent[prefixes[prefix] + key[len(prefix) :]] = value
    return lent


@torch.no_grad()
def widen_share(supernet: Network, share: int) -> Network:
    """The same supernet with candidates on 1/share of the channels; new weights come from torch's global generator.

    Each tensor's old values fill its leading block, the other channels start afresh. (Net2Net would repeat old channels
    instead, and needs to know what every operation does with them.)
    """
    net = build(supernet.genotype, share=share)
    state = net.state_dict()  # shares memory with the network
    for name, old in supernet.state_dict().items():
        state[name][tuple(slice(n) for n in old.shape)] = old
    return to_device(net, next(supernet.parameters()).device)


def supernet_genotype(space: Genotype) -> Genotype:
    """The space with everything but its operations decided at its largest: the network that holds every member."""
    edges = space.open_edges()
    others = {choice: candidates for choice, candidates in space.choices().items() if choice not in edges}
    return space.decide({choice: max(candidates, key=_extent) for choice, candidates in others.items()})


def extreme(space: Genotype, which: str) -> dict[str, Any]:
    """The choices of the "largest" or the "smallest" member: of operations by their parameters.

    Where the smallest of all would leave nothing (every width 0), some widths of 0 are the next ones.
    """
    pick = max if which == "largest" else min
    chosen: dict[str, Any] = {choice: pick(found, key=_extent) for choice, found in space.choices().items()}
    chosen |= {edge: by_parameters(space, edge)[-1 if which == "largest" else 0] for edge in space.open_edges()}
    nothing = [choice for choice, taken in chosen.items() if taken == 0]
    while nothing and not _is_network(space, chosen):
        choice = nothing.pop(0)
        chosen[choice] = min(width for width in space.choices()[choice] if width)
    return chosen


def _is_network(space: Genotype, choices: dict[str, Any]) -> bool:
    try:
        space.decide(choices)
    except GenotypeError:
        return False
    return True


def _extent(candidate: Any) -> int:
    """A width or side itself; of a list of features their number."""
    return len(candidate.split()) if isinstance(candidate, str) else candidate


def by_parameters(space: Genotype, edge: str) -> list[str]:
    """An edge's candidates that carry anything, from the smallest to the largest; in their own order where equal."""
    read = space.graph.edges[edge]
    assert read.width is not None

    def parameters(op: str) -> int:
        with torch.device("meta"):
            module = build_operation(op, space.graph[read.source].width, read.width or 0)
        return sum(parameter.numel() for parameter in module.parameters())

    return sorted((op for op in read.candidates if not OPERATIONS[op].zero), key=parameters)


def _origins(
    genotype: Genotype, shapes: Mapping[str, torch.Size], supernet: Genotype, state: Mapping[str, Tensor]
) -> dict[str, _Origin]:
    """For each of a member's tensors, where in the supernet's state it is."""
    graph, whole = genotype.graph, supernet.graph
    channels = channels_of(graph, whole)
    edges = {f"{edge_key(edge.id)}.": edge for edge in graph.edges.values()}
    nodes = {f"{node_key(node.name)}.": node for node in graph.nodes.values() if node.kind == "cell"}
    found = {}
    for key, shape in shapes.items():
        owner = ".".join(key.split(".")[:4]) + "." if key.startswith("cells.") else ""
        origin, incoming, outgoing = key, None, None
        if owner in edges:
            edge = edges[owner]
            if edge.id in whole.open:
                origin = f"{owner}ops.{edge.op}.{key[len(owner) :]}"
            node = next(node for node in graph.nodes.values() if edge in node.edges)
            incoming = channels[edge.source]
            outgoing = channels[node.name] if node.combine == "sum" else tuple(range(edge.width or 0))
            if keeps_channels(edge):
                outgoing = incoming
        elif owner in nodes:
            incoming = outgoing = channels[nodes[owner].name]
        if origin not in state:
            if len(shape) == 1 and owner in edges:  # scale or shift of a norm that is not affine in the supernet
                found[key] = _Origin("", fill=1.0 if key.endswith("weight") else 0.0)
                continue
            raise UserError(f"the supernet has no {origin}: it belongs to another space")
        source = state[origin].shape
        if len(source) != len(shape) or any(n > m for n, m in zip(shape, source, strict=True)):
            raise UserError(
                f"{origin} of the supernet is {list(source)}, the member's {list(shape)}: "
                "weights fit only a genotype of the space that was searched, at most as wide, with all channels"
            )
        take: list[int | Tensor | None] = []
        for dim, (n, m) in enumerate(zip(shape, source, strict=True)):
            mine = outgoing if dim == 0 else incoming if dim == 1 else None
            if mine is not None and len(mine) == n and mine != tuple(range(n)):
                take.append(torch.tensor(mine))
            elif dim > 1 and n < m:  # the middle of a kernel: a corner would shift the map
                take.append(torch.arange((m - n) // 2, (m + n) // 2))
            else:
                take.append(None if n == m else n)
        found[key] = _Origin(origin, tuple(take))
    return found
