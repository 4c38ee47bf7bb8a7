"""How an edge computes: resample, operate, resample. Written once, for networks, for latencies and for counts."""

import keyword
import math
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genotypes import OPERATIONS, RESAMPLINGS, UserError
from search_spaces.operations import Convolutions, build_operation

__all__ = ["EdgeSteps", "Mixture", "MixtureRow", "NamedModules", "OpenEdge", "build_edge"]


MixtureRow = tuple[Tensor, Sequence[int] | None]  # of an open edge: its candidates' weights, and what is computed


class Mixture(NamedTuple):
    """How much each candidate of each choice (open edge, then open width) counts in one pass through a supernet.

    An argument of the supernet's forward pass: a strategy owns its parameters, and the network none of them.

    weights: float[choices, most candidates], rows in the order of `Network.choices`, padded on the right.
    active: for each open edge, the indices of the candidates that are computed at all; None: all of them. The others
    take neither time nor memory, whatever their weight.
    """

    weights: Tensor
    active: Sequence[Sequence[int]] | None = None

    def rows(self) -> list[MixtureRow]:
        """(weights, active) of each open edge, in order.

        Taken apart at once: the gradient of each `weights[row]` would be a tensor of zeros to be filled and added.
        """
        weights = self.weights.unbind()
        return list(zip(weights, [None] * len(weights) if self.active is None else self.active, strict=False))


class NamedModules(nn.ModuleDict):
    """A ModuleDict that takes any name for what has no tensors: half, train, class, ...

    Raises UserError for a name of what has, where it is a method of nn.Module's own, which `functional_call` would find
    in its place, or no attribute that Python reads as it is written, for the code of captured graphs reads tensors so.
    """

    def add_module(self, name: str, module: nn.Module | None) -> None:
        assert module is not None
        if module.state_dict():
            problem = "a method of torch's modules" if hasattr(self, name) else ""
            problem = "a word of Python's own" if keyword.iskeyword(name) else problem
            problem = "spelt otherwise by Python" if unicodedata.normalize("NFKC", name) != name else problem
            if problem:
                raise UserError(f"{name!r} is {problem}: call this cell, node, edge or operation otherwise")
        self._modules[name] = module


class EdgeSteps:
    """An edge's way of computing, for any operation on it.

    Made once, before anything is computed, so that a network's structure is static: it compiles, exports and draws.
    """

    def __init__(self, pre: Sequence[str], post: Sequence[str]) -> None:
        self._before = [RESAMPLINGS[step].load() for step in pre]
        self._after = [RESAMPLINGS[step].load() for step in post]

    def __call__(self, operation: nn.Module, x: Tensor, size: tuple[int, int], *arguments: Any) -> Tensor:
        """[B, C, H, W] -> [B, C', *size]. size: (H, W) of the node the edge leads to; arguments: the operation's."""
        for step in self._before:
            x = step(x, size)
        x = operation(x, *arguments)
        for step in self._after:
            x = step(x, size)
        return x


class OpenEdge(nn.Module):
    """The mixture sum_o weights[o] * op_o(x) of DARTS (Liu et al., ICLR 2019, eq. 2).

    Norms of candidates are not affine, unless asked for: a learnt scale would undo what the weights say.

    share: with k > 1 the candidates see the first 1/k of the channels, the others pass by, and a shuffle brings
    other channels to the front for the next edge (PC-DARTS, Xu et al., ICLR 2020, section 3.2). Where k does not divide
    the width, the largest factor of k that does takes its place. An edge that changes the width has nothing to pass by
    and keeps all channels.
    """

    def __init__(
        self, candidates: tuple[str, ...], in_channels: int, out_channels: int, share: int = 1, affine: bool = False
    ) -> None:
        super().__init__()
        self.candidates = candidates
        self.share = math.gcd(share, in_channels) if in_channels == out_channels else 1
        self.out_channels = out_channels
        widths = in_channels // self.share, out_channels // self.share
        # What delivers zeros needs no module; its weight still shrinks the others'.
        self.carrying = {i: op for i, op in enumerate(candidates) if not OPERATIONS[op].zero}
        self.ops = NamedModules({op: build_operation(op, *widths, affine=affine) for op in self.carrying.values()})

    def carries(self, active: Sequence[int] | None) -> bool:
        """Whether any of these candidates delivers more than zeros."""
        return self.share > 1 or active is None or any(i in self.carrying for i in active)

    def forward(self, x: Tensor, weights: Tensor, active: Sequence[int] | None = None) -> Tensor:
        """[B, C_in, H, W] -> [B, C_out, H, W]. weights: [at least len(candidates)]; active: what is computed."""
        part = x if self.share == 1 else x[:, : x.shape[1] // self.share]
        indices = range(len(self.candidates)) if active is None else active
        # By channel, as norms take factors; taken apart at once, as in `Mixture.rows`.
        each = weights[:, None].expand(-1, self.out_channels // self.share).contiguous().unbind()
        rectified = mixed = None
        for i in indices:
            if i not in self.carrying:
                continue
            operation = self.ops[self.carrying[i]]
            if isinstance(operation, Convolutions):
                rectified = torch.relu(part) if rectified is None else rectified
                term = operation.weighted(rectified, each[i])
                mixed = term if mixed is None else mixed + term
            else:
                term = operation(part)
                factor = each[i][:, None, None].to(term.dtype)  # else under autocast all that follows were float32
                mixed = term * factor if mixed is None else torch.addcmul(mixed, term, factor)
        if mixed is None:
            mixed = x.new_zeros(x.shape[0], self.out_channels // self.share, *x.shape[2:])
        if self.share == 1:
            return mixed
        # The row's sum is 1, or what the strategy gives the edge as a whole.
        y = torch.cat([mixed, weights.sum() * x[:, part.shape[1] :]], dim=1)
        return y.unflatten(1, (self.share, -1)).transpose(1, 2).flatten(1, 2)


def build_edge(op: str | tuple[str, ...], in_channels: int, out_channels: int, share: int, affine: bool) -> nn.Module:
    """The module of an edge whose operation is a name (decided) or a tuple of candidates (open)."""
    if isinstance(op, tuple):
        return OpenEdge(op, in_channels, out_channels, share, affine)
    return build_operation(op, in_channels, out_channels)
