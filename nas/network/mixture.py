"""How much each candidate of each open edge counts in one pass through a supernet."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

__all__ = ["Mixture"]


class Mixture(NamedTuple):
    """An argument of the supernet's forward pass: a strategy owns its parameters, and the network none of them.

    weights: float[open edges, most candidates], rows in the order of `open_edges`, padded on the right.
    active: for each open edge, the indices of the candidates that are computed at all; None: all of them. The others
    take neither time nor memory, whatever their weight.
    """

    weights: torch.Tensor
    active: Sequence[Sequence[int]] | None = None
