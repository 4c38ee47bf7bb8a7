"""Edges as modules: one operation where the genotype is decided, a weighted sum of the candidates where it is open."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from nas.network.named import NamedModules
from search_spaces.operations import build_operation

__all__ = ["OpenEdge", "build_edge"]


class OpenEdge(nn.Module):
    """The mixture sum_o weights[o] * op_o(x) of DARTS (Liu et al., ICLR 2019, eq. 2).

    Norms of candidates are not affine: a learnt scale would undo what the weights say.

    share: with k > 1 the candidates see the first 1/k of the channels, the others pass by, and a shuffle brings
    other channels to the front for the next edge (PC-DARTS, Xu et al., ICLR 2020, section 3.2). Where k does not divide
    the width, the largest factor of k that does takes its place. An edge that changes the width has nothing to pass by
    and keeps all channels.
    """

    def __init__(self, candidates: tuple[str, ...], in_channels: int, out_channels: int, share: int = 1) -> None:
        super().__init__()
        self.candidates = candidates
        self.share = math.gcd(share, in_channels) if in_channels == out_channels else 1
        self.out_channels = out_channels
        widths = in_channels // self.share, out_channels // self.share
        # `none` is zero whatever its weight, so it needs no module; its weight still shrinks the others'.
        self.ops = NamedModules({op: build_operation(op, *widths, affine=False) for op in candidates if op != "none"})

    def forward(self, x: torch.Tensor, weights: torch.Tensor, active: Sequence[int] | None = None) -> torch.Tensor:
        """[B, C_in, H, W] -> [B, C_out, H, W]. weights: [at least len(candidates)]; active: what is computed."""
        part = x if self.share == 1 else x[:, : x.shape[1] // self.share]
        indices = range(len(self.candidates)) if active is None else active
        terms = [weights[i] * self.ops[op](part) for i in indices if (op := self.candidates[i]) != "none"]
        if terms:
            mixed = sum(terms[1:], start=terms[0])
        else:
            mixed = x.new_zeros(x.shape[0], self.out_channels // self.share, *x.shape[2:])
        if self.share == 1:
            return mixed
        # The row's sum is 1, or what the strategy gives the edge as a whole.
        y = torch.cat([mixed, weights.sum() * x[:, part.shape[1] :]], dim=1)
        return y.unflatten(1, (self.share, -1)).transpose(1, 2).flatten(1, 2)


def build_edge(op: str | tuple[str, ...], in_channels: int, out_channels: int, share: int = 1) -> nn.Module:
    """The module of an edge whose operation is a name (decided) or a tuple of candidates (open)."""
    if isinstance(op, tuple):
        return OpenEdge(op, in_channels, out_channels, share)
    return build_operation(op, in_channels, out_channels)
