"""Spatial and channel attention as in the released code of Auto-MSFNet (Zhang et al., ACM MM 2021).

The two gates are those of CBAM (Woo et al., ECCV 2018) and SE (Hu et al., CVPR 2018); the 1x1 convolution,
norm and ReLU after the gate are Auto-MSFNet's. State-dict leaves are the authors'.
"""

import torch
from torch import Tensor, nn

from search_spaces.operations._register import register_operation

__all__ = ["SpatialAttention", "ChannelAttention"]


@register_operation("spatial_attention")
class SpatialAttention(nn.Module):
    """ReLU(BN(1x1(x * m))) with m = sigmoid(7x7 conv of [mean over channels, max over channels]): [B, 1, H,
    W].

    Leaves: `conv1` (7x7, 2 -> 1), `conv11` (1x1), `bn11`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.conv11 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn11 = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        mean_B1HW = x_BCHW.mean(dim=1, keepdim=True)
        max_B1HW = x_BCHW.amax(dim=1, keepdim=True)
        gate_B1HW = torch.sigmoid(self.conv1(torch.cat([mean_B1HW, max_B1HW], dim=1)))
        return torch.relu(self.bn11(self.conv11(x_BCHW * gate_B1HW)))


@register_operation("channel_attention")
class ChannelAttention(nn.Module):
    """ReLU(BN(1x1(x * a))) with a = sigmoid(L2(ReLU(L1(global mean of x)))): [B, C, 1, 1].

    L1 reduces C to C // 16, at least to 1 (the paper knows only C = 128). Leaves: `linear_1`, `linear_2`,
    `conv1`, `bn1`.
    """

    REDUCTION = 16

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
        hidden = max(1, in_channels // self.REDUCTION)
        self.linear_1 = nn.Linear(in_channels, hidden)
        self.linear_2 = nn.Linear(hidden, in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        pooled_BC = x_BCHW.mean(dim=(2, 3))
        gate_BC = torch.sigmoid(self.linear_2(torch.relu(self.linear_1(pooled_BC))))
        return torch.relu(self.bn1(self.conv1(x_BCHW * gate_BC[:, :, None, None])))
