"""MobileNetV2, width 1.0 (Sandler et al., CVPR 2018, table 2). Keys as torchvision's `mobilenet_v2`.

Features are the outputs of the last linear bottleneck at each stride (no activation after them).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from genotypes.vocabulary import Stage
from search_spaces.backbones.layers import FeatureStack, InvertedResidual, SameConv2d, inverted_residuals
from search_spaces.convolution import Conv2d

__all__ = ["mobilenet_v2"]

_STEM_CHANNELS = 32
_AFTER = {"s2": 1, "s4": 3, "s8": 6, "s16": 13, "s32": 17}


def _conv_bn_relu6(
    in_channels: int, out_channels: int, kernel: int, stride: int, groups: int, padding: str
) -> nn.Sequential:
    if stride == 2 and padding == "tf_same":
        conv: nn.Conv2d = SameConv2d(in_channels, out_channels, kernel, stride, groups)
    else:
        conv = Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU6(inplace=True))


class _InvertedResidual(InvertedResidual):
    """1x1 expansion (none if t = 1), depthwise 3x3, linear 1x1 projection; plus the input where shapes agree."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, padding: str, hidden: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [_conv_bn_relu6(in_channels, hidden, 1, 1, 1, padding)]
        layers += [
            _conv_bn_relu6(hidden, hidden, 3, stride, hidden, padding),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def expanded(self, x_BCHW: Tensor) -> Tensor:
        for layer in list(self.conv)[:-2]:
            x_BCHW = layer(x_BCHW)
        return x_BCHW

    def projected(self, hidden_BCHW: Tensor) -> Tensor:
        projection, norm = list(self.conv)[-2:]
        y_BCHW: Tensor = norm(projection(hidden_BCHW))
        return y_BCHW


def mobilenet_v2(
    taps: tuple[str, ...], *, padding: str, stages: Sequence[Stage], widths: Sequence[int] = ()
) -> nn.Module:
    """padding: "symmetric", or "tf_same" for weights trained in TensorFlow.

    widths: hidden channels of the blocks, 0 for an absent one.
    """
    stem = _conv_bn_relu6(3, _STEM_CHANNELS, 3, 2, 1, padding)

    def block(stage: Stage, in_channels: int, stride: int, hidden: int) -> nn.Module:
        return _InvertedResidual(in_channels, stage.channels, stage.expansion, stride, padding, hidden)

    return FeatureStack([stem, *inverted_residuals(stages, widths, _STEM_CHANNELS, block)], _AFTER, taps)
