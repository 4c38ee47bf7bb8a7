"""The two operations without parameters. Source: DARTS (Liu et al., ICLR 2019), section 3.1."""

import torch
from torch import Tensor, nn

from search_spaces.operations._register import register_operation

__all__ = ["NoConnection", "SkipConnect"]


@register_operation("none", widths="any")
class NoConnection(nn.Module):
    """Zeros: the edge carries nothing, whatever its input holds."""

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.out_channels = out_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Not `x * 0`: that would let a NaN or an infinity of the input through. zeros_like keeps
        # channels_last.
        if x_BCHW.shape[1] == self.out_channels:
            return torch.zeros_like(x_BCHW)
        B, _, H, W = x_BCHW.shape
        return x_BCHW.new_zeros(B, self.out_channels, H, W)


@register_operation("skip_connect")
class SkipConnect(nn.Identity):
    """The input itself."""

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
