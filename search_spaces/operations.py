"""Operations: what may sit on an edge. A module maps [B, Cin, H, W] to [B, Cout, H, W] and keeps H and W.

The records (names, summaries, papers, and which arguments make which operation of a class here) are in
`genotypes.vocabulary`. A class or function is called with (in_channels, out_channels, affine=..., and the record's
arguments). `affine=False` asks for norms without learnt scale and shift: candidates of a search use it, since a scale
would hide an operation's weight. It has no effect where there is no norm.

State-dict leaves are the authors', where there are authors: `op.N` is the position in the list of layers.

>>> import torch
>>> op = build_operation("dil_conv_3x3", 16, 16)
>>> tuple(op(torch.zeros(2, 16, 20, 24)).shape)
(2, 16, 20, 24)
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genotypes import OPERATIONS, UserError
from search_spaces.convolution import Conv2d

__all__ = [
    "ChannelAttention",
    "Convolutions",
    "SkipConnect",
    "SpatialAttention",
    "Zeros",
    "build_operation",
    "depthwise",
    "plain",
]


def build_operation(name: str, in_channels: int, out_channels: int, affine: bool = True) -> nn.Module:
    """The module of operation `name`: [B, in_channels, H, W] -> [B, out_channels, H, W].

    Raises UserError for an unknown name (listing those that exist) and for widths the operation cannot have.
    """
    record = OPERATIONS[name]
    if in_channels < 1 or out_channels < 1:
        raise UserError(f"operation {name!r}: channel counts must be positive, got {in_channels} -> {out_channels}")
    if record.widths == "same" and in_channels != out_channels:
        raise UserError(
            f"operation {name!r} keeps the number of channels, got {in_channels} -> {out_channels}; "
            "change the width first, e.g. with conv2d_1x1"
        )
    module: nn.Module = record.make(in_channels, out_channels, affine=affine)
    return module


class Zeros(nn.Module):
    """What `none` delivers, whatever its input holds. Networks save themselves the trouble, see `Edge.carries`."""

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.out_channels = out_channels

    def forward(self, x_BCHW: Tensor) -> Tensor:
        # Not `x * 0`: that would let a NaN or an infinity of the input through.
        B, _, H, W = x_BCHW.shape
        return x_BCHW.new_zeros(B, self.out_channels, H, W)


class SkipConnect(nn.Identity):
    """The input itself."""

    def __init__(self, in_channels: int, out_channels: int, *, affine: bool = True) -> None:
        super().__init__()


class Convolutions(nn.Module):
    """`repeats` times (ReLU, k x k convolution, 1x1 convolution if `pointwise`, norm); layers are `op.0`, `op.1`, ...

    Depthwise ones are as in DARTS (section 3.1). Dense ones are Auto-MSFNet's seven, as in the released code: their
    names come from DARTS, their content does not, for its "sep" and "dil" convolutions are *dense* (full C to C) and
    differ only in dilation. All begin with ReLU, have no bias, and end in a norm with no activation after it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 3,
        dilation: int = 1,
        depthwise: bool = False,
        pointwise: bool = True,
        repeats: int = 1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        padding, groups = dilation * (kernel // 2), in_channels if depthwise else 1

        def block() -> list[nn.Module]:
            return [
                nn.ReLU(),  # not in place: other edges read the same feature
                Conv2d(in_channels, in_channels, kernel, 1, padding, dilation, groups=groups, bias=False),
                *([nn.Conv2d(in_channels, in_channels, 1, bias=False)] if pointwise else []),
                nn.BatchNorm2d(in_channels, affine=affine),
            ]

        blocks = [block() for _ in range(repeats)]
        self._depth = len(blocks[0])
        self.op = nn.Sequential(*(layer for block in blocks for layer in block))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW: Tensor = self.op(x_BCHW)
        return y_BCHW

    def weighted(self, rectified_BCHW: Tensor, weight_C: Tensor) -> Tensor:
        """weight * forward(x), given ReLU(x): the same but for rounding, with fewer passes over memory.

        The candidates of an edge share one ReLU; the last norm multiplies by the weight; a dense convolution and the
        1x1 behind it, with nothing between them, are one convolution. So the backward pass also has less to keep.
        """
        layers, y_BCHW = list(self.op), rectified_BCHW
        for start in range(0, len(layers), self._depth):
            relu, *convolutions, norm = layers[start : start + self._depth]
            y_BCHW = _convolve(relu(y_BCHW) if start else y_BCHW, convolutions)
            last = start + self._depth == len(layers)
            y_BCHW = _scaled_norm(norm, y_BCHW, weight_C) if last else norm(y_BCHW)
        return y_BCHW


def _convolve(x_BCHW: Tensor, convolutions: Sequence[Any]) -> Tensor:
    first = convolutions[0]
    if len(convolutions) == 1 or first.groups > 1:
        for convolution in convolutions:
            x_BCHW = convolution(x_BCHW)
        return x_BCHW
    weight_OHWI = first.weight.permute(0, 2, 3, 1)  # a network's weights are channels last: nothing is copied
    merged_OHWI = (convolutions[1].weight.flatten(1) @ weight_OHWI.flatten(1)).view(weight_OHWI.shape)
    return first._conv_forward(x_BCHW, merged_OHWI.permute(0, 3, 1, 2), None)


def _scaled_norm(norm: Any, x_BCHW: Tensor, scale_C: Tensor) -> Tensor:
    """scale * norm(x), without a pass of its own: by the norm's factors."""
    scale_C = scale_C.to(torch.promote_types(scale_C.dtype, x_BCHW.dtype))  # of 64 bits where the feature is
    if norm.training and norm.momentum is None:  # averages over all batches, which only the module itself counts
        return norm(x_BCHW) * scale_C[:, None, None]
    tracked = not norm.training or norm.track_running_stats
    if norm.training and tracked:
        norm.num_batches_tracked.add_(1)
    return F.batch_norm(
        x_BCHW,
        norm.running_mean if tracked else None,
        norm.running_var if tracked else None,
        scale_C if norm.weight is None else norm.weight * scale_C,
        None if norm.bias is None else norm.bias * scale_C,
        norm.training,
        norm.momentum or 0.0,
        norm.eps,
    )


def depthwise(in_channels: int, out_channels: int, *, affine: bool = True) -> nn.Module:
    """One 3x3 filter a channel; no activation, no norm, no bias (CSNet, in-layer blocks)."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, groups=in_channels, bias=False)


def plain(
    in_channels: int, out_channels: int, *, kernel: int, dilation: int = 1, bias: bool = True, affine: bool = True
) -> nn.Module:
    """A convolution without activation and norm, of any widths: laterals, heads, hand-made decoders."""
    return Conv2d(in_channels, out_channels, kernel, 1, dilation * (kernel // 2), dilation, bias=bias)


class SpatialAttention(nn.Module):
    """ReLU(BN(1x1(x * m))) with m = sigmoid(7x7 conv of [mean over channels, max over channels]): [B, 1, H, W].

    The gate is CBAM's (Woo et al., ECCV 2018), what follows it Auto-MSFNet's. Leaves: `conv1` (7x7, 2 -> 1), `conv11`
    (1x1), `bn11`.
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


class ChannelAttention(nn.Module):
    """ReLU(BN(1x1(x * a))) with a = sigmoid(L2(ReLU(L1(global mean of x)))): [B, C, 1, 1].

    L1 reduces C to C // 16, at least to 1 (the paper knows only C = 128). The gate is SE's (Hu et al., CVPR 2018), what
    follows it Auto-MSFNet's. Leaves: `linear_1`, `linear_2`, `conv1`, `bn1`.
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
