"""The seven convolution operations of Auto-MSFNet (Zhang et al., ACM MM 2021), as in the released code.

Their names come from DARTS, their content does not: "sep" and "dil" convolutions here are *dense* (full C
to C), followed by a 1x1 convolution; they differ only in dilation. For depthwise ones see depthwise.py. All
begin with ReLU, have no bias, and end in a norm with no activation after it.

State-dict leaves are the authors': `op.N` with N the position in the list of layers, ReLU included.
"""

from collections.abc import Callable

from torch import Tensor, nn

from search_spaces.operations._register import register_operation

__all__ = ["DenseConv"]


class DenseConv(nn.Module):
    """``repeats`` times (ReLU, 3x3 conv, 1x1 conv if ``pointwise``, norm); layers are `op.0`, `op.1`, ..."""

    def __init__(
        self, channels: int, *, dilation: int = 1, pointwise: bool, repeats: int = 1, affine: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(repeats):
            # Not in place: other edges read the same feature.
            layers += [nn.ReLU(), nn.Conv2d(channels, channels, 3, 1, dilation, dilation, bias=False)]
            if pointwise:
                layers += [nn.Conv2d(channels, channels, 1, bias=False)]
            layers += [nn.BatchNorm2d(channels, affine=affine)]
        self.op = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.op(x_BCHW)


def _factory(dilation: int, pointwise: bool, repeats: int) -> Callable[..., nn.Module]:
    def make(in_channels: int, out_channels: int, *, affine: bool = True) -> nn.Module:
        return DenseConv(in_channels, dilation=dilation, pointwise=pointwise, repeats=repeats, affine=affine)

    return make


for _name, _dilation, _pointwise, _repeats in (
    ("sep_conv_3x3", 1, True, 1),
    ("sep_conv_3x3_rp2", 1, True, 2),
    ("dil_conv_3x3", 2, True, 1),
    ("dil_conv_3x3_rp2", 2, True, 2),
    ("dil_conv_3x3_dil4", 4, True, 1),
    ("conv_3x3", 1, False, 1),
    ("conv_3x3_rp2", 1, False, 2),
):
    register_operation(_name)(_factory(_dilation, _pointwise, _repeats))
