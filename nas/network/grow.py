"""A supernet whose candidates compute more of the channels takes over what a narrower one has learnt."""

import torch

from nas.network.network import Network, build

__all__ = ["grow"]


@torch.no_grad()
def grow(supernet: Network, share: int) -> Network:
    """The same supernet with candidates on 1/share of the channels; new weights come from torch's global generator.

    Each tensor's old values fill its leading block, the other channels start afresh. (Net2Net would repeat old channels
    instead, and needs to know what every operation does with them.)
    """
    net = build(supernet.genotype, share=share).to(next(supernet.parameters()).device)
    state = net.state_dict()  # shares memory with the network
    for name, old in supernet.state_dict().items():
        state[name][tuple(slice(n) for n in old.shape)] = old
    return net.to(memory_format=torch.channels_last)
