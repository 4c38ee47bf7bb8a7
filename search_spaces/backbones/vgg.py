"""VGG-16 with BatchNorm (Simonyan and Zisserman, ICLR 2015, configuration D).

Keys as torchvision's `vgg16_bn`. Features are taken after the last ReLU of a block, before its pool; the
fifth pool is dropped.
`vgg16_bn_ceil` is Auto-MSFNet's variant, whose pools round sizes up; on sizes that are
multiples of 16 both agree. In both a side of one pixel stays one pixel.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.backbones.layers import FeatureStack

__all__ = ["vgg16"]

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_AFTER = {"s1": 5, "s2": 12, "s4": 22, "s8": 32, "s16": 42}


class _FloorPool(nn.MaxPool2d):
    """Halves sides, rounding down, but not below one pixel: as the nodes of cells do."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Spelled out, for the smaller of two sides is no plain number where an export keeps sides symbolic.
        H, W = x_BCHW.shape[-2:]
        return F.max_pool2d(x_BCHW, (1 if H == 1 else 2, 1 if W == 1 else 2))


def vgg16(taps: tuple[str, ...], *, ceil_mode: bool) -> nn.Module:
    """ceil_mode: whether pools round sizes up."""
    layers: list[nn.Module] = []
    width = 3
    for widths in _BLOCKS:
        for channels in widths:
            layers += [
                nn.Conv2d(width, channels, 3, padding=1),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            width = channels
        layers += [nn.MaxPool2d(2, ceil_mode=True) if ceil_mode else _FloorPool(2)]
    return FeatureStack(layers, _AFTER, taps)
