"""Weights that networks of one space hand on: supernet to decided network, decided to supernet, narrow to wide."""

from collections.abc import Mapping

import torch

from genotypes import Genotype, UserError
from nas.network.network import Network, build, to_device

__all__ = ["inherit", "inherit_state", "lend_state", "widen_share"]

State = Mapping[str, torch.Tensor]


def inherit(supernet: Network, genotype: Genotype) -> Network:
    """The network of `genotype`, a decision of the supernet's, with the supernet's weights on the chosen edges.

    Norms that are not affine in the supernet start at scale 1 and shift 0. Norm statistics are those of the mixture:
    re-estimate them (`reestimate_norms`) before judging the network.
    """
    net = build(genotype)
    inherit_state(net, supernet.state_dict(), supernet.open_edges)
    return net.to(next(supernet.parameters()).device)


@torch.no_grad()
def inherit_state(net: Network, source: State, open_edges: Mapping[str, tuple[str, ...]]) -> None:
    """Fill a decided network from the state dict of a supernet in which `open_edges` were open.

    Raises UserError where a tensor is missing or has another shape: the supernet was of another space, of another width
    (`export_channels`), or its candidates saw a part of the channels only (pc_darts).
    """
    chosen = net.genotype.graph.operations()
    prefixes = {_prefix(edge): f"{_prefix(edge)}ops.{chosen[edge]}." for edge in open_edges}
    for key, value in net.state_dict().items():  # shares memory with the network
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), None)
        origin = key if prefix is None else prefixes[prefix] + key[len(prefix) :]
        if origin in source:
            if source[origin].shape != value.shape:
                raise UserError(
                    f"{origin} of the supernet is {list(source[origin].shape)}, the network's {list(value.shape)}: "
                    "weights fit only a genotype of the width that was searched, with all channels"
                )
            value.copy_(source[origin])
        elif prefix is not None and value.ndim == 1:  # scale or shift of a norm that was not affine
            value.fill_(1.0 if key.endswith("weight") else 0.0)
        else:
            raise UserError(f"the supernet has no {origin}: it belongs to another space")


def lend_state(genotype: Genotype, source: State) -> dict[str, torch.Tensor]:
    """A decided network's tensors under the keys that a supernet of its space has for the same operations."""
    prefixes = {_prefix(edge): f"{_prefix(edge)}ops.{op}." for edge, op in genotype.graph.operations().items()}
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


def _prefix(edge: str) -> str:
    cell, name = edge.split(".", 1)
    return f"cells.{cell}.edges.{name}."
