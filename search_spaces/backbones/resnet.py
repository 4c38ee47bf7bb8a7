"""ResNet-50 and Res2Net-50: a stem, a max pool and four stages of residual blocks.

ResNet-50 (He et al., CVPR 2016) is "v1.5": the stride sits on the 3x3 convolution. Keys as torchvision's `resnet50`.
Res2Net-50 v1b, 26w x 4s (Gao et al., TPAMI 2021) as in the released code, keys as the authors' `res2net50_v1b_26w_4s`.
v1b differs from v1 by the deep stem (three 3x3 convolutions) and the average-pooled shortcut.
ResNet-50 with standardised weights and GroupNorm (Qiao et al., arXiv 1903.10520): the same keys without statistics.
Features: `s2` is ResNet's stem before its max pool, `s4` to `s32` are layer1 to layer4.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from search_spaces.backbones.layers import StandardisedConv2d, initialise

__all__ = ["StagedBackbone", "res2net50", "resnet50", "resnet50_wsgn"]

_DEPTHS = (3, 4, 6, 3)
_SCALES = 4  # of Res2Net
_BASE_WIDTH = 26  # channels of a split where planes = 64
_STAGE_OF = {"s2": 0, "s4": 1, "s8": 2, "s16": 3, "s32": 4}


class StagedBackbone(nn.Module):
    """A stem (`conv1`, `bn1`, ReLU), a max pool and the stages `layer1` to `layer4`, as deep as the taps
    need.

    Args:
        taps: names out of `s2` (stem), `s4`, `s8`, `s16`, `s32` (stages).
        stem: from 3 to 64 channels at stride 2, without the last norm and ReLU.
        block: makes a residual block from (in_channels, planes, stride, is_first); its output has 4 *
            planes channels.
        norm: of the stem, made from its channels.
    """

    def __init__(
        self,
        taps: tuple[str, ...],
        stem: nn.Module,
        block: type[nn.Module],
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        depth = max(_STAGE_OF[tap] for tap in taps)
        self._tap_after = {_STAGE_OF[tap]: tap for tap in taps}
        self.conv1 = stem
        self.bn1 = norm(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        width = 64
        for stage, repeats in enumerate(_DEPTHS[:depth], start=1):
            planes = 64 * 2 ** (stage - 1)
            blocks = []
            for index in range(repeats):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(block(width, planes, stride, index == 0))
                width = 4 * planes
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self._depth = depth
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        features = {}
        x_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        for stage in range(self._depth + 1):
            if stage == 1:
                x_BCHW = self.maxpool(x_BCHW)
            if stage >= 1:
                x_BCHW = self.get_submodule(f"layer{stage}")(x_BCHW)
            if stage in self._tap_after:
                features[self._tap_after[stage]] = x_BCHW
        return features


class _Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1, each with BN; plus the shortcut: a 1x1 in a stage's first block."""

    conv: Callable[..., nn.Module] = nn.Conv2d
    norm: Callable[[int], nn.Module] = nn.BatchNorm2d

    def __init__(self, in_channels: int, planes: int, stride: int, is_first: bool) -> None:
        super().__init__()
        out_channels = 4 * planes
        self.conv1 = self.conv(in_channels, planes, 1, bias=False)
        self.bn1 = self.norm(planes)
        self.conv2 = self.conv(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = self.norm(planes)
        self.conv3 = self.conv(planes, out_channels, 1, bias=False)
        self.bn3 = self.norm(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if is_first:
            self.downsample = nn.Sequential(
                self.conv(in_channels, out_channels, 1, stride, bias=False), self.norm(out_channels)
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        shortcut_BCHW = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        y_BCHW = self.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.relu(self.bn2(self.conv2(y_BCHW)))
        return self.relu(self.bn3(self.conv3(y_BCHW)) + shortcut_BCHW)


def resnet50(taps: tuple[str, ...]) -> nn.Module:
    """ResNet-50, as deep as the taps need."""
    return StagedBackbone(taps, nn.Conv2d(3, 64, 7, 2, 3, bias=False), _Bottleneck)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(32, channels)


class _StandardisedBottleneck(_Bottleneck):
    """The same with standardised weights and GroupNorm."""

    conv = StandardisedConv2d
    norm = staticmethod(_group_norm)


def resnet50_wsgn(taps: tuple[str, ...]) -> nn.Module:
    """ResNet-50 with standardised weights and GroupNorm of 32 groups, as deep as the taps need."""
    stem = StandardisedConv2d(3, 64, 7, 2, 3, bias=False)
    return StagedBackbone(taps, stem, _StandardisedBottleneck, _group_norm)


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


def res2net50(taps: tuple[str, ...]) -> nn.Module:
    """Res2Net-50 v1b, as deep as the taps need."""
    return StagedBackbone(taps, _deep_stem(), _Bottle2neck)
