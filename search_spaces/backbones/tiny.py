"""`tiny`: ten thousand parameters, for the default search on a CPU and for tests. Ours; no weights exist.

Depthwise-separable units as in MobileNet (Howard et al., arXiv 1704.04861), two a stride: one that shrinks
and one that refines, with a residual.
"""

from torch import Tensor, nn

from search_spaces.backbones.layers import FeatureStack
from search_spaces.convolution import Conv2d

__all__ = ["tiny"]

_STEM_CHANNELS = 12
_AFTER = {"s4": 2, "s8": 4, "s16": 6, "s32": 8}
_CHANNELS = (16, 24, 32, 48)


class _SeparableUnit(nn.Module):
    """Depthwise 3x3, BN, 1x1, BN, ReLU; + input if shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(
            Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
        )
        self.pointwise = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.pointwise(self.depthwise(x_BCHW))
        return (x_BCHW + y_BCHW if self.residual else y_BCHW).relu()


def tiny(taps: tuple[str, ...]) -> nn.Module:
    """The backbone, as deep as the taps need."""
    layers: list[nn.Module] = [
        nn.Sequential(
            nn.Conv2d(3, _STEM_CHANNELS, 3, 2, 1, bias=False),
            nn.BatchNorm2d(_STEM_CHANNELS),
            nn.ReLU(inplace=True),
        )
    ]
    width = _STEM_CHANNELS
    for channels in _CHANNELS:
        layers += [_SeparableUnit(width, channels, 2), _SeparableUnit(channels, channels, 1)]
        width = channels
    return FeatureStack(layers, _AFTER, taps)
