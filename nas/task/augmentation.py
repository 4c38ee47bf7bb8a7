"""Augmentation of a whole batch at once, on the batch's device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genotypes.errors import UserError

__all__ = ["AugmentConfig", "augment", "normalise"]

_STRIDE = 16  # sizes of multi-scale batches are multiples of this: odd sizes only slow a network down
_SMALLEST = 32  # the smallest input that networks take


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How a batch is changed at random. The default only flips.

    Attributes:
        flip: probability of a horizontal flip.
        rotate: largest rotation in degrees, either way.
        crop: largest share of height and of width (drawn apart) that is cut away before resizing back.
        colour: strength of brightness, contrast and saturation jitter; 0.1 means factors in 0.9..1.1.
        scales: output sizes as factors of the input size; each batch draws one.
    """

    flip: float = 0.5
    rotate: float = 0.0
    crop: float = 0.0
    colour: float = 0.0
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for field, low, high in (("flip", 0, 1), ("rotate", 0, 180), ("crop", 0, 0.9), ("colour", 0, 1)):
            value = getattr(self, field)
            if not low <= value <= high:
                raise UserError(f"augmentation: {field} must be in {low}..{high}, got {value}")
        if not self.scales or any(not 0.1 <= s <= 4 for s in self.scales):
            raise UserError(f"augmentation: scales must be factors in 0.1..4, at least one, got {self.scales}")


def augment(images: Tensor, masks: Tensor, generator: torch.Generator, cfg: AugmentConfig) -> tuple[Tensor, Tensor]:
    """Augment a batch.

    Args:
        images: uint8[B, 3, S, S].
        masks: uint8[B, 1, S, S].
        generator: a CPU generator; the numbers drawn do not depend on the device.
        cfg: what to do.

    Returns:
        x float32[B, 3, s, s] in 0..1 and y float32[B, 1, s, s] of zeros and ones, s the size drawn from `scales`.
    """
    batch, size = images.shape[0], images.shape[-1]
    # One table of numbers whatever is switched on: adding an option leaves the others' draws alone.
    drawn = torch.rand(batch, 9, generator=generator)
    scale = cfg.scales[int(torch.randint(len(cfg.scales), (), generator=generator))]
    flipped = drawn[:, 0] < cfg.flip
    out = size if scale == 1 else max(_SMALLEST, round(size * scale / _STRIDE) * _STRIDE)
    if cfg.rotate == 0 and cfg.crop == 0 and out == size:
        where = flipped.to(images.device)[:, None, None, None]
        x = torch.where(where, images.flip(-1), images).float() / 255
        y = (torch.where(where, masks.flip(-1), masks) > 127).float()
    else:
        theta = _affine(drawn, flipped, cfg).to(images.device)
        both = torch.cat([images, masks], dim=1).float() / 255
        grid = F.affine_grid(theta, [batch, 4, out, out], align_corners=False)
        both = F.grid_sample(both, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        x, y = both[:, :3].clamp(0, 1), (both[:, 3:] > 0.5).float()
    if cfg.colour > 0:
        x = _jitter(x, drawn[:, 6:9].to(x.device), cfg.colour)
    return x, y


def _affine(drawn: Tensor, flipped: Tensor, cfg: AugmentConfig) -> Tensor:
    """float[B, 2, 3]: from output to input coordinates (-1..1). First the crop window, then rotation, then the flip."""
    angle = (2 * drawn[:, 1] - 1) * math.radians(cfg.rotate)
    keep_x, keep_y = 1 - cfg.crop * drawn[:, 2], 1 - cfg.crop * drawn[:, 3]
    # The window may move by what was cut away and stays inside the photograph.
    move_x = (1 - keep_x) * (2 * drawn[:, 4] - 1)
    move_y = (1 - keep_y) * (2 * drawn[:, 5] - 1)
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows_x = torch.stack([cos * keep_x, -sin * keep_y, cos * move_x - sin * move_y], dim=1)
    rows_y = torch.stack([sin * keep_x, cos * keep_y, sin * move_x + cos * move_y], dim=1)
    rows_x = torch.where(flipped[:, None], -rows_x, rows_x)
    return torch.stack([rows_x, rows_y], dim=1)


def _jitter(x: Tensor, drawn: Tensor, strength: float) -> Tensor:
    """Brightness, contrast and saturation, each by a factor of 1 ± strength an image. drawn: float[B, 3] in 0..1."""
    bright, contrast, saturation = (1 + strength * (2 * drawn - 1))[:, :, None, None, None].unbind(1)
    x = (x * bright).clamp(0, 1)
    grey = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    x = (mean + (x - mean) * contrast).clamp(0, 1)
    grey = (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    return (grey + (x - grey) * saturation).clamp(0, 1)


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std a channel, for x float[B, 3, H, W] in 0..1: the input convention of a genotype."""
    return (x - x.new_tensor(mean)[:, None, None]) / x.new_tensor(std)[:, None, None]
