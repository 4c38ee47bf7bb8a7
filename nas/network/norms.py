"""Running statistics of BatchNorms: keep them still, or estimate them anew."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["norm_statistics_frozen", "reestimate_norms"]


@contextmanager
def norm_statistics_frozen(net: nn.Module) -> Iterator[None]:
    """In training mode, norms use the batch's statistics but leave their running ones as they are.

    Probes of a loss at other weights, or on other data, must not leak into what the network remembers.
    """
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@torch.no_grad()
def reestimate_norms(net: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace all running statistics by the plain average over batches of inputs [B, 3, H, W]; leaves eval mode on."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a cumulative average
    net.train()
    for x in batches:
        net(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()
