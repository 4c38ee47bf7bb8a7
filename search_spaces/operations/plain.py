"""Plain convolutions: no activation, no norm, any widths. Bricks of laterals, heads, hand-made decoders.

`conv2d_{k}x{k}[_d{dilation}][_bias]`; leaves: `weight` and, where named, `bias`.
"""

from collections.abc import Callable

from torch import nn

from search_spaces.operations._register import register_operation

__all__: list[str] = []


def _factory(kernel: int, dilation: int, bias: bool) -> Callable[..., nn.Module]:
    def make(in_channels: int, out_channels: int, *, affine: bool = True) -> nn.Module:
        padding = dilation * (kernel // 2)
        return nn.Conv2d(in_channels, out_channels, kernel, 1, padding, dilation, bias=bias)

    return make


for _kernel, _dilation in ((1, 1), (3, 1), (3, 2), (3, 4), (3, 8), (3, 16)):
    for _bias in (False, True):
        _name = f"conv2d_{_kernel}x{_kernel}" + f"_d{_dilation}" * (_dilation > 1) + "_bias" * _bias
        register_operation(_name, widths="any")(_factory(_kernel, _dilation, _bias))
