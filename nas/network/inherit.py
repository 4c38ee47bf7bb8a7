"""A decided network takes over the weights of its supernet."""

from genotypes import Genotype
from nas.network.network import Network, build

__all__ = ["inherit"]


def inherit(supernet: Network, genotype: Genotype) -> Network:
    """The network of `genotype`, a decision of the supernet's, with the supernet's weights on the chosen edges.

    Norms that are not affine in the supernet start at scale 1 and shift 0. Norm statistics are those of the mixture:
    re-estimate them (`reestimate_norms`) before judging the network.
    """
    net = build(genotype)
    source = supernet.state_dict()
    chosen = {data["id"]: data["op"] for _, _, data in genotype.graph.edges(data=True)}
    prefixes = {}
    for edge in supernet.open_edges:
        cell, name = edge.split(".", 1)
        prefixes[f"cells.{cell}.edges.{name}."] = f"cells.{cell}.edges.{name}.ops.{chosen[edge]}."
    state = net.state_dict()  # shares memory with the network
    for key, value in state.items():
        prefix = next((prefix for prefix in prefixes if key.startswith(prefix)), None)
        origin = key if prefix is None else prefixes[prefix] + key[len(prefix) :]
        if origin in source:
            value.copy_(source[origin])
        elif prefix is not None and value.ndim == 1:  # scale or shift of a norm that was not affine
            value.fill_(1.0 if key.endswith("weight") else 0.0)
        else:
            raise KeyError(f"the supernet has no {origin}")
    return net.to(next(supernet.parameters()).device)
