"""Res2Net-50 v1b, 26w x 4s (Gao et al., TPAMI 2021), as in the released code.

Keys as the authors' `res2net50_v1b_26w_4s`. v1b differs from v1 by the deep stem (three 3x3 convolutions)
and the average-pooled shortcut.
"""

import torch
from torch import Tensor, nn

from search_spaces.backbones._register import register_backbone
from search_spaces.backbones.resnet import StagedBackbone

__all__: list[str] = []

_SCALES = 4
_BASE_WIDTH = 26  # channels of a split where planes = 64


class _Bottle2neck(nn.Module):
    """A bottleneck whose 3x3 convolution is a cascade over four splits of the channels.

    In a stage's first block ("stage" type) the splits do not feed each other, and the last one is
    average-pooled.
    """

    def __init__(self, in_channels: int, planes: int, stride: int, is_first: bool) -> None:
        super().__init__()
        out_channels = 4 * planes
        width = planes * _BASE_WIDTH // 64
        self.is_first = is_first
        self.conv1 = nn.Conv2d(in_channels, width * _SCALES, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width * _SCALES)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, stride, 1, bias=False) for _ in range(_SCALES - 1))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(_SCALES - 1))
        self.conv3 = nn.Conv2d(width * _SCALES, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if is_first:
            # Padding counts as zeros here, but not in the shortcut's pool: both as released.
            self.pool = nn.AvgPool2d(3, stride, 1)
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        shortcut_BCHW = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        *heads, last = self.relu(self.bn1(self.conv1(x_BCHW))).chunk(_SCALES, dim=1)
        outs: list[Tensor] = []
        for split, conv, bn in zip(heads, self.convs, self.bns, strict=True):
            if outs and not self.is_first:
                split = split + outs[-1]
            outs.append(self.relu(bn(conv(split))))
        outs.append(self.pool(last) if self.is_first else last)
        return self.relu(self.bn3(self.conv3(torch.cat(outs, dim=1))) + shortcut_BCHW)


def _deep_stem() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 32, 3, 1, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3, 1, 1, bias=False),
    )


@register_backbone(
    "res2net50",
    weights_from="ImageNet weights of the authors' res2net50_v1b_26w_4s, linked from "
    "https://github.com/Res2Net/Res2Net-PretrainedModels",
    extra_keys=("fc.",),
)
def _res2net50(taps: tuple[str, ...]) -> nn.Module:
    return StagedBackbone(taps, _deep_stem(), _Bottle2neck)
