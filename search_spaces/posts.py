"""Post steps: what follows the combination of a node's edges (norm, activation, both or nothing).

Leaves: `norm`, `act`. GroupNorm has 32 groups, as in CSF+Res2Net50 (Gao et al., ECCV 2020); PReLU one slope a channel.
"""

from torch import Tensor, nn

from genotypes import vocabulary
from genotypes.errors import UserError

__all__ = ["build_post"]

_GROUPS = 32


class _Post(nn.Module):
    """act(norm(x)), either of which may be absent; [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, norm: nn.Module | None, act: nn.Module | None) -> None:
        super().__init__()
        self.norm = norm
        self.act = act

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.norm is not None:
            x_BCHW = self.norm(x_BCHW)
        if self.act is not None:
            x_BCHW = self.act(x_BCHW)
        return x_BCHW


def build_post(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """The module of post step ``name``: [B, channels, H, W] -> the same shape.

    ``affine=False``: norms without learnt scale and shift. Raises UserError for an unknown name, and for a
    width that GroupNorm's 32 groups do not divide.
    """
    if name not in vocabulary.POSTS:
        raise UserError(f"unknown post step {name!r}; there are: {', '.join(vocabulary.POSTS)}")
    if name == "none":
        return nn.Identity()
    words = name.split("_")
    return _Post(_norm(name, words, channels, affine), _act(words, channels))


def _norm(name: str, words: list[str], channels: int, affine: bool) -> nn.Module | None:
    if "bn" in words:
        return nn.BatchNorm2d(channels, affine=affine)
    if f"gn{_GROUPS}" in words:
        if channels % _GROUPS:
            raise UserError(f"post step {name!r} needs a width divisible by {_GROUPS}, got {channels}")
        return nn.GroupNorm(_GROUPS, channels, affine=affine)
    return None


def _act(words: list[str], channels: int) -> nn.Module | None:
    if "prelu" in words:
        return nn.PReLU(channels)
    if "relu" in words:
        # Not in place: a node with one skip edge hands the source feature itself to its post step.
        return nn.ReLU()
    return None
