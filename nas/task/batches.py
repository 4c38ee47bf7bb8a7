"""What step k sees: a pure function of (seed, stream, step), so that a resumed run sees the same."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from genotypes import Input
from nas.task.augmentation import AugmentConfig, Draw, augment, constants, draw, draw_each, network_input
from nas.task.photos import PhotoSet

__all__ = ["SEEDS_APART", "Batch", "Batches", "Samples", "batch_indices", "generator"]

SEEDS_APART = 1_000_003  # added to a seed, or times it: more than a run has members, trials or pictures


def generator(seed: int, stream: str, step: int) -> torch.Generator:
    """A CPU generator for everything random in one step of one stream.

    Streams (`"weights"`, `"architecture"`, ...) are independent of each other, and so are steps.
    """
    digest = hashlib.blake2b(f"{seed}\0{stream}\0{step}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def batch_indices(n: int, batch_size: int, step: int, seed: int, stream: str) -> torch.Tensor:
    """Indices LongTensor[batch_size] of step `step` (from 0) when walking through shuffled epochs of n images.

    Every epoch is a new permutation and holds every image once. A batch that crosses the end of an epoch
    goes on in the next one, so every batch has `batch_size` images, also when n is smaller than that.

    Raises:
        ValueError: n or batch_size below 1, or a negative step.
    """
    if n < 1 or batch_size < 1 or step < 0:
        raise ValueError(f"need n >= 1, batch_size >= 1, step >= 0; got {n}, {batch_size}, {step}")
    start, stop = step * batch_size, (step + 1) * batch_size
    pieces = []
    for epoch in range(start // n, (stop - 1) // n + 1):
        order = torch.randperm(n, generator=generator(seed, f"{stream}/epoch", epoch))
        pieces.append(order[max(start - epoch * n, 0) : stop - epoch * n])
    return torch.cat(pieces)


class Batch(NamedTuple):
    """A step's images uint8[B, 3, S, S] and masks on the device, and what is to be done to them.

    masks: uint8[B, 1, S, S]; [B, 2, S, S] with a teacher's maps behind them.
    """

    images: Tensor
    masks: Tensor
    change: Draw


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Some photographs of a set, and how a network takes them.

    rows: int64[K], which of `photos`; convention: how they are normalised; device: where the network is.
    """

    photos: PhotoSet
    rows: Tensor
    convention: Input
    device: torch.device

    def inputs(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """x float32[B, 3, S, S], normalised, channels last, and masks uint8[B, 1, S, S] of these rows of `photos`."""
        images, masks = self.photos.batch(rows, self.device)
        return network_input(images, self.convention), masks


@dataclass(frozen=True, kw_only=True)
class Batches:
    """A stream of batches.

    stream: its name, so that two of one seed are independent. first_size: what share of the images' size the first
    batch has; sizes grow evenly and are whole from step `grown_at` on. plain_from: from this step on images are only
    flipped, left to right. teacher: makes x in 0..1 and y of a batch in place of `augment`: the masks, and its own maps
    behind them. blend: share of the pictures, until then, half of which or less the teacher is to take from another.
    """

    samples: Samples
    batch_size: int
    augment: AugmentConfig
    seed: int
    stream: str
    first_size: float = 1.0
    grown_at: int = 0
    plain_from: int | None = None
    teacher: Callable[[Batch], tuple[Tensor, Tensor]] | None = None
    blend: float = 0.0

    def __post_init__(self) -> None:
        constants(self.samples.convention, self.samples.device)

    def draw(self, step: int) -> Batch:
        """What the host decides about step `step`: which images, and how they are varied. Its shapes never change."""
        device = self.samples.device
        images, masks = self.samples.photos.batch(self._picked(step), device, train=True)
        height, width = images.shape[-2:]
        grown = 1.0 if step >= self.grown_at else self.first_size + (1 - self.first_size) * step / self.grown_at
        random = self._random(step)
        change = draw(len(images), (height, width), random, self._augment(step), grown=grown)
        if self.blend and not self._plain(step):
            chance, share = torch.rand(2, len(images), generator=random)
            change = change._replace(blend=torch.where(chance < self.blend, share / 2, 0.0))
        return Batch(images, masks, change.to(device))

    def draw_each(self, step: int) -> tuple[Batch, ...]:
        """The same of a `NativeSet`: batches of one photograph at its own size."""
        device = self.samples.device
        found = [self.samples.photos.batch(row[None], device, train=True) for row in self._picked(step)]
        changes = draw_each([(x.shape[-2], x.shape[-1]) for x, _ in found], self._random(step), self._augment(step))
        return tuple(Batch(*pair, change.to(device)) for pair, change in zip(found, changes, strict=True))

    def _picked(self, step: int) -> Tensor:
        rows = self.samples.rows
        return rows[batch_indices(len(rows), self.batch_size, step, self.seed, self.stream)]

    def _augment(self, step: int) -> AugmentConfig:
        return AugmentConfig(flip=self.augment.flip) if self._plain(step) else self.augment

    def _plain(self, step: int) -> bool:
        return self.plain_from is not None and step >= self.plain_from

    def _random(self, step: int) -> torch.Generator:
        return generator(self.seed, f"{self.stream}/augment", step)

    def make(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """x float[B, 3, h, w], normalised, channels last; y float[B, 1 or 2, h, w], see `augment`. Reads no value."""
        x, y = augment(*batch) if self.teacher is None else self.teacher(batch)
        return network_input(x, self.samples.convention), y

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, see `make`."""
        return self.make(self.draw(step))
