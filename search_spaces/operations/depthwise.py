"""Truly depthwise convolutions, with names that say so.

`dw_sep_conv_*` and `dw_dil_conv_*` are the separable and dilated convolutions of DARTS (Liu et al., ICLR
2019, section 3.1): ReLU, depthwise, pointwise, norm; the separable ones twice, the dilated ones once with
dilation 2. `depthwise_3x3` is the bare convolution. Leaves: `op.N`, N the position in the list of layers;
`depthwise_3x3`: `weight`.
"""

from collections.abc import Callable

from torch import Tensor, nn

from search_spaces.operations._register import register_operation

__all__ = ["DepthwiseConv"]


class DepthwiseConv(nn.Module):
    """``repeats`` times (ReLU, depthwise conv, 1x1 conv, norm); layers are `op.0`, `op.1`, ..."""

    def __init__(self, channels: int, kernel: int, *, dilation: int = 1, repeats: int = 1, affine: bool = True) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        layers: list[nn.Module] = []
        for _ in range(repeats):
            layers += [
                nn.ReLU(),  # not in place: other edges read the same feature
                nn.Conv2d(channels, channels, kernel, 1, padding, dilation, groups=channels, bias=False),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels, affine=affine),
            ]
        self.op = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.op(x_BCHW)


def _factory(kernel: int, dilation: int, repeats: int) -> Callable[..., nn.Module]:
    def make(in_channels: int, out_channels: int, *, affine: bool = True) -> nn.Module:
        return DepthwiseConv(in_channels, kernel, dilation=dilation, repeats=repeats, affine=affine)

    return make


for _kernel in (3, 5):
    register_operation(f"dw_sep_conv_{_kernel}x{_kernel}")(_factory(_kernel, dilation=1, repeats=2))
    register_operation(f"dw_dil_conv_{_kernel}x{_kernel}")(_factory(_kernel, dilation=2, repeats=1))


@register_operation("depthwise_3x3")
def _depthwise_3x3(in_channels: int, out_channels: int, *, affine: bool = True) -> nn.Module:
    """One 3x3 filter a channel; no activation, no norm, no bias (CSNet, ECCV 2020, in-layer blocks)."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=in_channels, bias=False)
