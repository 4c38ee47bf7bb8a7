"""What the backbones share: a stack of layers with taps, TensorFlow's padding, and the initialisation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genotypes.vocabulary import Stage
from search_spaces.convolution import Conv2d

__all__ = [
    "FeatureStack",
    "InvertedResidual",
    "SameConv2d",
    "StandardisedConv2d",
    "initialise",
    "inverted_residuals",
    "scaled_channels",
    "sort_hidden_channels",
    "tapped",
]


def scaled_channels(x_BCHW: Tensor, mask_C: Tensor) -> Tensor:
    """Each channel times its factor; under autocast in the features' type, else all that follows were float32."""
    return x_BCHW * mask_C[:, None, None].to(x_BCHW.dtype)


class FeatureStack(nn.Module):
    """Layers in sequence, under `features.N` as in torchvision, some of whose outputs are features.

    Args:
        layers: all layers of the backbone; those after the deepest tap are dropped.
        after: feature name -> index of the layer whose output it is, finest first.
        taps: the features to return.
    """

    def __init__(self, layers: Iterable[nn.Module], after: dict[str, int], taps: tuple[str, ...]) -> None:
        super().__init__()
        self._tap_after = {index: name for name, index in after.items() if name in taps}
        self.features = nn.Sequential(*list(layers)[: max(self._tap_after) + 1])
        initialise(self)

    def forward(self, x_BCHW: Tensor, masks: Mapping[int, Tensor] | None = None) -> dict[str, Tensor]:
        """masks: index of a block behind the stem -> see `InvertedResidual`."""
        behind = {1 + block: mask for block, mask in masks.items()} if masks else None
        return tapped(self.features, self._tap_after, x_BCHW, behind)


def tapped(
    layers: Iterable[nn.Module],
    tap_after: Mapping[int, str],
    x_BCHW: Tensor,
    masks: Mapping[int, Tensor] | None = None,
) -> dict[str, Tensor]:
    """The features of layers in sequence; tap_after: index of a layer -> the feature that its output is.

    masks: index of an inverted residual -> its mask.
    """
    features = {}
    for index, layer in enumerate(layers):
        x_BCHW = layer(x_BCHW, masks[index]) if masks and index in masks else layer(x_BCHW)
        if index in tap_after:
            features[tap_after[index]] = x_BCHW
    return features


class SameConv2d(Conv2d):
    """k x k convolution (k odd, stride 1 or 2) with TensorFlow's SAME padding, which weights trained there expect.

    Total padding of a side n is max((ceil(n/s) - 1) * s + k - n, 0), half of it, rounded down, before. For stride 2
    that is (k // 2, k // 2) for odd n and (k // 2 - 1, k // 2) for even n, written without a branch so that exporters
    keep n symbolic.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.stride[0] == 2:
            H, W = x_BCHW.shape[-2:]
            after = self.kernel_size[0] // 2
            x_BCHW = F.pad(x_BCHW, (after - 1 + W % 2, after, after - 1 + H % 2, after))
        return super().forward(x_BCHW)


class StandardisedConv2d(nn.Conv2d):
    """Convolution by (w - mean) / (std + 1e-5) of each output channel (Qiao et al., arXiv 1903.10520).

    As in their code: the deviation is the unbiased one, and 1e-5 stands outside of the root.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        std, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x_BCHW, (self.weight - mean) / (std + 1e-5), self.bias)


class InvertedResidual(nn.Module, ABC):
    """A block whose hidden channels are its own: 1x1 expansion, depthwise, 1x1 projection, a norm after each.

    Subclasses register their layers in this order; without an expansion (t = 1) the hidden channels are the input's.
    Where shapes agree (`residual`) the input is added.
    """

    residual: bool

    @abstractmethod
    def expanded(self, x_BCHW: Tensor) -> Tensor:
        """The hidden channels, after the depthwise convolution, its norm and activation."""

    @abstractmethod
    def projected(self, hidden_BCHW: Tensor) -> Tensor:
        """What the block adds, or else delivers."""

    def forward(self, x_BCHW: Tensor, mask_C: Tensor | None = None) -> Tensor:
        """mask_C: in a supernet where the width is open, how much each hidden channel counts.

        What the norm behind the projection makes of a block without channels is no zero, and it takes a factor that all
        of them share away again. So the first one's, that of the whole block, counts once more behind it.
        """
        y_BCHW = self.expanded(x_BCHW)
        if mask_C is not None:
            y_BCHW = scaled_channels(y_BCHW, mask_C)
        y_BCHW = self.projected(y_BCHW)
        if mask_C is not None:
            y_BCHW = y_BCHW * mask_C[0].to(y_BCHW.dtype)
        return x_BCHW + y_BCHW if self.residual else y_BCHW

    @torch.no_grad()
    def sort_hidden_channels(self) -> None:
        """By the scale of the norm before the projection."""
        convs = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        if len(convs) < 3:
            return
        (expand, depthwise, project), (first, second, _) = convs, norms
        order = second.weight.abs().argsort(descending=True, stable=True)
        for tensor in (expand.weight, depthwise.weight, *_channels(first), *_channels(second)):
            tensor.copy_(tensor[order])
        project.weight.copy_(project.weight[:, order])


def inverted_residuals(
    stages: Sequence[Stage], widths: Sequence[int], channels: int, make: Callable[[Stage, int, int, int], nn.Module]
) -> list[nn.Module]:
    """The blocks of these stages, behind a stem of so many channels.

    widths: their hidden channels, 0 for an absent one; none: as the stages say. make: (stage, in_channels, stride,
    hidden channels) -> a block.
    """
    blocks: list[nn.Module] = []
    for stage in stages:
        for stride in (stage.stride, *[1] * (stage.repeats - 1)):
            hidden = dict(enumerate(widths)).get(len(blocks), stage.expansion * channels)
            blocks.append(make(stage, channels, stride, hidden) if hidden else nn.Identity())
            channels = stage.channels
    return blocks


def _channels(norm: nn.BatchNorm2d) -> tuple[Tensor, ...]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.weight, norm.bias, norm.running_mean, norm.running_var


def sort_hidden_channels(backbone: nn.Module) -> None:
    """Sort the hidden channels of every inverted residual by importance.

    Changes no output, but for the order of sums: a narrower block that takes the first channels loses least.
    (Scales as importance: Liu et al., Network Slimming, ICCV 2017; sorting once: Cai et al., Once-for-All, ICLR 2020.)
    """
    for block in backbone.modules():
        if isinstance(block, InvertedResidual):
            block.sort_hidden_channels()


def initialise(net: nn.Module) -> None:
    """As torchvision: convolutions Kaiming normal (He et al., ICCV 2015) by fan-out, biases zero; norms (1, 0)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
