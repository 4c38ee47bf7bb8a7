"""Edges as modules: one operation where the genotype is decided, a weighted sum of the candidates where it is open."""

import torch
from torch import nn

from nas.network.named import NamedModules
from search_spaces.operations import build_operation

__all__ = ["OpenEdge", "build_edge"]


class OpenEdge(nn.Module):
    """The mixture sum_o weights[o] * op_o(x) of DARTS (Liu et al., ICLR 2019, eq. 2).

    Norms of candidates are not affine: a learnt scale would undo what the weights say.
    """

    def __init__(self, candidates: tuple[str, ...], in_channels: int, out_channels: int) -> None:
        super().__init__()
        # `none` is zero whatever its weight, so it needs no module; its weight still shrinks the others'.
        self.candidates = candidates
        self.ops = NamedModules(
            {op: build_operation(op, in_channels, out_channels, affine=False) for op in candidates if op != "none"}
        )

    def forward(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """x: [B, C_in, H, W]; weights: [at least len(candidates)]. Returns [B, C_out, H, W]."""
        terms = [weights[i] * self.ops[op](x) for i, op in enumerate(self.candidates) if op != "none"]
        return sum(terms[1:], start=terms[0])


def build_edge(op: str | tuple[str, ...], in_channels: int, out_channels: int) -> nn.Module:
    """The module of an edge whose operation is a name (decided) or a tuple of candidates (open)."""
    if isinstance(op, tuple):
        return OpenEdge(op, in_channels, out_channels)
    return build_operation(op, in_channels, out_channels)
