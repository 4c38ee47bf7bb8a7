"""What a photograph becomes before a network sees it: augmented, a whole batch at once, and normalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from genotypes import Input, UserError
from genotypes.parts import SMALLEST
from nas.run.device import sent, with_tensors

__all__ = [
    "AugmentConfig",
    "Draw",
    "at_size",
    "augment",
    "constants",
    "draw",
    "draw_each",
    "network_input",
    "normalise",
    "pixels",
    "scaled",
    "target",
]

_STRIDE = 16  # sizes of multi-scale batches are multiples of this: odd sizes only slow a network down
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How a batch is changed at random. The default only flips.

    Attributes:
        flip: probability of a flip.
        vertical: share of the flips that are vertical; the others are horizontal.
        rotate: largest rotation in degrees, either way.
        crop: largest share of height and of width (drawn apart) that is cut away before resizing back.
        colour: strength of brightness, contrast and saturation jitter; 0.1 means factors in 0.9..1.1.
        scales: output sizes as factors of the input size; each batch draws one.
    """

    flip: float = 0.5
    vertical: float = 0.0
    rotate: float = 0.0
    crop: float = 0.0
    colour: float = 0.0
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        highest = {"flip": 1, "vertical": 1, "rotate": 180, "crop": 0.9, "colour": 1}
        for field, high in highest.items():
            value = getattr(self, field)
            if not 0 <= value <= high:
                raise UserError(f"augmentation: {field} must be in 0..{high}, got {value}")
        if not self.scales or any(not 0.1 <= s <= 4 for s in self.scales):
            raise UserError(f"augmentation: scales must be factors in 0.1..4, at least one, got {self.scales}")


class Draw(NamedTuple):
    """What is done to one batch: numbers that the host draws, and the size that they lead to.

    flipped: bool[B]. theta: float[B, 2, 3], from output to input coordinates (-1..1), or None where nothing but flips
    is asked for. colour: float[B, 3], factors of brightness, contrast and saturation, or None. shape: (h, w) of the
    result. blend: float[B], see `Batches`; `augment` leaves it to a teacher.
    """

    flipped: Tensor
    theta: Tensor | None
    colour: Tensor | None
    shape: tuple[int, int]
    blend: Tensor | None = None

    def to(self, device: torch.device) -> Draw:
        drawn: Draw = with_tensors(self, lambda tensor: sent(tensor, device))
        return drawn


def draw(
    batch: int, shape: tuple[int, int], generator: torch.Generator, cfg: AugmentConfig, *, grown: float = 1.0
) -> Draw:
    """What happens to `batch` images of (H, W) `shape`; the numbers do not depend on the device.

    grown: a further factor of the size.
    """
    # One table of numbers whatever is switched on: adding an option leaves the others' draws alone.
    drawn = torch.rand(batch, 9, generator=generator)
    scale = grown * cfg.scales[int(torch.randint(len(cfg.scales), (), generator=generator))]
    flipped = drawn[:, 0] < cfg.flip
    height, width = (scaled(side, scale) for side in shape)
    plain = cfg.rotate == 0 and cfg.crop == 0 and cfg.vertical == 0 and (height, width) == shape
    return Draw(
        flipped=flipped,
        theta=None if plain else _affine(drawn, flipped, cfg),
        colour=1 + cfg.colour * (2 * drawn[:, 6:9] - 1) if cfg.colour > 0 else None,
        shape=(height, width),
    )


def scaled(side: int, scale: float) -> int:
    """A side as a scale leaves it, in pixels: for other scales than 1 a multiple of 16, no less than networks take."""
    return side if scale == 1 else max(SMALLEST, round(side * scale / _STRIDE) * _STRIDE)


def draw_each(shapes: Sequence[tuple[int, int]], generator: torch.Generator, cfg: AugmentConfig) -> list[Draw]:
    """What happens to images of these sizes, each a batch of its own and of the same size afterwards.

    Raises:
        ValueError: rotation or scales are asked for: they are for squares.
    """
    if cfg.rotate or cfg.scales != (1.0,):
        raise ValueError(f"images of many sizes are not rotated or scaled: {cfg}")
    flipped, theta, colour, *_ = draw(len(shapes), shapes[0], generator, cfg)

    def of(drawn: Tensor | None, i: int) -> Tensor | None:
        return None if drawn is None else drawn[i : i + 1]

    return [Draw(flipped[i : i + 1], of(theta, i), of(colour, i), shape) for i, shape in enumerate(shapes)]


def augment(images: Tensor, masks: Tensor, change: Draw) -> tuple[Tensor, Tensor]:
    """Do to a batch what was drawn; no value of a tensor is read.

    Args:
        images: uint8[B, 3, H, W].
        masks: uint8[B, 1, H, W]; [B, 2, H, W] with a teacher's maps behind them.
        change: of `draw(B, (H, W), ...)`, on the images' device.

    Returns:
        x float32[B, 3, h, w] in 0..1 and y float32[B, 1 or 2, h, w], (h, w) the draw's shape: the mask, of zeros and
        ones, and the teacher's map, which stays graded.
    """
    if change.theta is None:
        where = change.flipped[:, None, None, None]
        x, y = (pixels(torch.where(where, part.flip(-1), part)) for part in (images, masks))
    else:
        both = pixels(torch.cat([images, masks], dim=1))
        grid = F.affine_grid(change.theta, [*both.shape[:2], *change.shape], align_corners=False)
        both = F.grid_sample(both, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        x, y = both[:, :3].clamp(0, 1), both[:, 3:]
    mask = (y[:, :1] > 0.5).float()
    y = mask if y.shape[1] == 1 else torch.cat([mask, y[:, 1:]], dim=1)
    if change.colour is not None:
        x = _jitter(x, change.colour)
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
    vertical = (drawn[:, 0] < cfg.flip * cfg.vertical)[:, None]
    rows_x = torch.where(flipped[:, None] & ~vertical, -rows_x, rows_x)
    rows_y = torch.where(vertical, -rows_y, rows_y)
    return torch.stack([rows_x, rows_y], dim=1)


def _jitter(x: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation, each times a factor of the image. factors: float[B, 3]."""
    bright, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    weights = channels(_LUMA, x.device)
    x = (x * bright).clamp(0, 1)
    grey = (x * weights).sum(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    x = (mean + (x - mean) * contrast).clamp(0, 1)
    grey = (x * weights).sum(1, keepdim=True)
    return (grey + (x - grey) * saturation).clamp(0, 1)


def pixels(images: Tensor) -> Tensor:
    """uint8 as float32 in 0..1."""
    return images.float() / 255


def target(masks: Tensor) -> Tensor:
    """uint8 masks as zeros and ones: the object is where a value is above 127."""
    return (masks > 127).float()


@cache  # a captured step reads them where they are: none may go
def channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """float32[C, 1, 1], made once: a step that made it from a list would wait for the copy to the device."""
    return torch.tensor(values, device=device)[:, None, None]


def constants(convention: Input, device: torch.device) -> None:
    """Make what `augment` and `network_input` read on the device, so that no step does."""
    for values in (_LUMA, convention.mean, convention.std):
        channels(tuple(values), device)


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std a channel, for x float32[B, 3, H, W] in 0..1: the input convention of a genotype."""
    return (x - channels(tuple(mean), x.device)) / channels(tuple(std), x.device)


def network_input(x: Tensor, convention: Input) -> Tensor:
    """Photographs as a network takes them: normalised, channels last. x: uint8 or float32[B, 3, H, W], in 0..1."""
    x = pixels(x) if x.dtype == torch.uint8 else x
    return normalise(x, convention.mean, convention.std).contiguous(memory_format=torch.channels_last)


def at_size(x: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, C, H, W] resized to `size`, antialiased; the tensor itself where it has that size."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", antialias=True, align_corners=False)
