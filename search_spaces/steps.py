"""The steps around an operation: resampling before and after it, and the post step of a node (norm, activation)."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import SymBool, Tensor, nn
from torch.autograd import Function

from genotypes import POSTS, UserError
from genotypes.parts import SMALLEST

__all__ = ["PICTURE_SIDES", "PReLU", "avg_pool", "avg_pool_ceil", "build_post", "max_pool", "norm_act", "resize"]

Sides = tuple[int, int]  # (H, W) of the destination

# Of pictures: from the smallest on, a period of the coarsest stride, halved once more. Then all repeats.
PICTURE_SIDES = range(SMALLEST, SMALLEST + 2 * 64)


def resize(x_BCHW: Tensor, size: Sides, *, mode: str) -> Tensor:
    """To the destination's size, "bilinear" or "nearest"."""
    if all(_surely(here == there) for here, there in zip(x_BCHW.shape[-2:], size, strict=True)):
        return x_BCHW  # both are the identity then; skipping them costs nothing and is exact
    corners = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(x_BCHW, size=size, mode=mode, **corners)


def avg_pool(x_BCHW: Tensor, size: Sides, *, factor: int) -> Tensor:
    """Sides / factor, rounded down, at least one pixel: MINet halves one pixel of a small photo's coarsest feature."""
    return _floor_pool(F.avg_pool2d, x_BCHW, factor)


def avg_pool_ceil(x_BCHW: Tensor, size: Sides, *, factor: int) -> Tensor:
    """Sides / factor, rounded up; padding does not count."""
    return F.avg_pool2d(x_BCHW, factor, ceil_mode=True, count_include_pad=False)


def max_pool(x_BCHW: Tensor, size: Sides, *, factor: int) -> Tensor:
    """Sides / factor, rounded down, at least one pixel."""
    return _floor_pool(F.max_pool2d, x_BCHW, factor)


def _floor_pool(pool: Callable[..., Tensor], x_BCHW: Tensor, k: int) -> Tensor:
    H, W = x_BCHW.shape[-2:]
    if all(_surely(side >= k) for side in (H, W)):
        return pool(x_BCHW, k)
    # A kernel must be a number also where an exporter keeps sides free. So what rounding down leaves out is cut off,
    # and a side that is too short is padded by as much as is never a window of its own. Rounding up would do, too,
    # but OpenVINO makes an empty feature of a side shorter than the kernel then.
    x_BCHW = x_BCHW[..., : min(H, k * max(1, H // k)), : min(W, k * max(1, W // k))]
    more = (0, k - 1, 0, k - 1)
    if pool is F.max_pool2d:
        return pool(F.pad(x_BCHW, more, mode="replicate"), k)
    return pool(F.pad(x_BCHW, more), k) * (k * k / (min(H, k) * min(W, k)))  # over the pixels that are no padding


def _surely(condition: bool | SymBool | Tensor) -> bool:
    """Whether it holds, of numbers (tensors under torch.jit.trace); of a side that an exporter keeps free: of all.

    What the exporter itself knows won't do: while it traces it comes to assume that no feature is one pixel wide.
    """
    if isinstance(condition, SymBool):
        return _always(condition.node.expr)
    return bool(condition)


@lru_cache(maxsize=1024)
def _always(expression: Any) -> bool:
    """Whether a condition (of sympy) on one side of the picture holds for all that a network takes."""
    from sympy import Integer  # loaded by who exports; others need not wait for it

    symbols = expression.free_symbols
    if len(symbols) > 1:
        return False
    return all(bool(expression.xreplace(dict.fromkeys(symbols, Integer(side)))) for side in PICTURE_SIDES)


def build_post(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """The module of post step `name`: [B, channels, H, W] -> the same shape.

    affine=False: norms without learnt scale and shift. Raises UserError for an unknown name, and for a width that the
    groups of a GroupNorm do not divide.
    """
    record = POSTS[name]
    if channels % record.divisor:
        raise UserError(f"post step {name!r} needs a width divisible by {record.divisor}, got {channels}")
    module: nn.Module = record.make(channels, affine=affine)
    return module


def norm_act(channels: int, *, norm: str | None, act: str | None, affine: bool = True) -> nn.Module:
    """act(norm(x)), either of which may be absent. Leaves: `norm`, `act`.

    GroupNorm has 32 groups, as in CSF+Res2Net50 (Gao et al., ECCV 2020); PReLU one slope a channel.
    """
    if norm is None and act is None:
        return nn.Identity()
    norms: dict[str | None, Callable[[], nn.Module | None]] = {
        None: lambda: None,
        "bn": lambda: nn.BatchNorm2d(channels, affine=affine),
        "gn32": lambda: nn.GroupNorm(32, channels, affine=affine),
    }
    # ReLU not in place: a node with one skip edge hands the source feature itself to its post step.
    acts: dict[str | None, Callable[[], nn.Module | None]] = {
        None: lambda: None,
        "relu": nn.ReLU,
        "prelu": lambda: PReLU(channels),
    }
    return _NormAct(norms[norm](), acts[act]())


class PReLU(nn.PReLU):
    """`nn.PReLU`, faster on a CPU: docs/performance.md.

    Its gradient takes a third of the time, with the same bits. What is in bf16 it computes in its slopes' float32:
    torch's own, in bf16 and channels last, takes seven times as long as in float32.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        learns = self.training and torch.is_grad_enabled()
        if x_BCHW.device.type != "cpu" or not (learns or x_BCHW.dtype != self.weight.dtype):
            return super().forward(x_BCHW)
        with torch.autocast("cpu", enabled=False):  # under which even float32 would be computed in bf16
            y_BCHW: Tensor = (_PReLU.apply if learns else _PReLU.forward)(x_BCHW, self.weight)
        return y_BCHW


class _PReLU(Function):
    """torch's own gradient takes one number at a time; this one is made of operations that take many."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x_BCHW: Tensor, slope_C: Tensor) -> Tensor:
        return F.prelu(x_BCHW.to(slope_C.dtype), slope_C).to(x_BCHW.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        x_BCHW, slope_C = ctx.saved_tensors
        above_BCHW = torch.ops.aten.threshold_backward(gradient_BCHW, x_BCHW, 0)  # where x > 0
        below_BCHW = gradient_BCHW - above_BCHW
        towards_x_BCHW = torch.addcmul(above_BCHW, below_BCHW, slope_C.view(-1, 1, 1).to(x_BCHW.dtype))
        return towards_x_BCHW, (below_BCHW * x_BCHW).sum((0, 2, 3), dtype=slope_C.dtype)


class _NormAct(nn.Module):
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
