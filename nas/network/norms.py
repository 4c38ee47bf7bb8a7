"""Running statistics of BatchNorms: keep them still, or estimate them anew."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from genotypes import UserError

__all__ = [
    "batch_norms",
    "check_single_image",
    "norm_statistics_frozen",
    "norm_statistics_restored",
    "norms_counted_at_once",
    "reestimate_norms",
]


def batch_norms(net: nn.Module) -> list[_BatchNorm]:
    """All of a network, in its order."""
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def norm_statistics_frozen(net: nn.Module) -> Iterator[None]:
    """In training mode, norms use the batch's statistics but leave their running ones as they are.

    Probes of a loss at other weights, or on other data, must not leak into what the network remembers.
    """
    norms = [norm for norm in batch_norms(net) if norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


class _Tally:
    """Stands in for a norm's `num_batches_tracked`: notes what would be added."""

    def __init__(self) -> None:
        self.count = 0

    def add_(self, number: int) -> None:
        self.count += number


@contextmanager
def norms_counted_at_once(net: nn.Module) -> Iterator[None]:
    """Norms count the batches that they see inside at the end, in one call for all.

    A network of a search has hundreds, and on a GPU each addition is a kernel. Nothing reads the counts but norms
    that average over all batches (momentum None), which count as ever; they are part of the state all the same.
    """
    norms = [norm for norm in batch_norms(net) if norm.momentum is not None]
    tallies = [_Tally() for _ in norms]
    for norm, tally in zip(norms, tallies, strict=True):
        norm.__dict__["num_batches_tracked"] = tally  # found before the buffer, which stays where it is
    try:
        yield
    finally:
        for norm in norms:
            del norm.__dict__["num_batches_tracked"]
    for count in sorted({tally.count for tally in tallies} - {0}):
        counted = [norm for norm, tally in zip(norms, tallies, strict=True) if tally.count == count]
        torch._foreach_add_([cast(torch.Tensor, norm.num_batches_tracked) for norm in counted], count)


@torch.no_grad()
def check_single_image(net: nn.Module, size: int) -> None:
    """UserError where `net` cannot be trained on batches of one image of `size` x `size`; leaves training mode on.

    A norm has no statistics where one image leaves it one value a channel: after global pooling, or at 1x1.
    """
    try:
        with norm_statistics_frozen(net.train()):
            net(torch.zeros(1, 3, size, size, device=next(net.parameters()).device))
    except ValueError as error:
        raise UserError(f"this network's norms need two images or more at a time: raise batch_size ({error})") from None


@contextmanager
def norm_statistics_restored(net: nn.Module) -> Iterator[None]:
    """Whatever happens to the norms' running statistics inside, they are afterwards what they were before."""
    norms = batch_norms(net)
    before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in norms]
    try:
        yield
    finally:
        for norm, values in zip(norms, before, strict=True):
            for name, value in norm.named_buffers():
                value.copy_(values[name])


@torch.no_grad()
def reestimate_norms(net: nn.Module, batches: Iterable[torch.Tensor], *arguments: Any) -> None:
    """Replace all running statistics by the plain average over batches of inputs [B, 3, H, W]; leaves eval mode on.

    arguments: what else the network's forward pass takes, such as a supernet's mixture.
    """
    norms = batch_norms(net)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a cumulative average
    net.train()
    for x in batches:
        net(x, *arguments)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()
