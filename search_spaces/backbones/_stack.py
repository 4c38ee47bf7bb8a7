"""What the backbones share: a stack of layers with taps, and the initialisation."""

from collections.abc import Iterable

from torch import Tensor, nn

__all__ = ["FeatureStack", "initialise"]


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

    def forward(self, x_BCHW: Tensor) -> dict[str, Tensor]:
        features = {}
        for index, layer in enumerate(self.features):
            x_BCHW = layer(x_BCHW)
            if index in self._tap_after:
                features[self._tap_after[index]] = x_BCHW
        return features


def initialise(net: nn.Module) -> None:
    """As torchvision: convolutions Kaiming normal (He et al., ICCV 2015) by fan-out, biases zero; norms (1, 0)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
