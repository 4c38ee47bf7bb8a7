"""Training batches: which images step k takes, augmented and normalised, as a pure function of (seed, stream, k)."""

from dataclasses import dataclass

import torch

from genotypes import Input
from nas.task.augmentation import AugmentConfig, augment, normalise
from nas.task.batches import batch_indices, generator
from nas.task.photos import PhotoSet

__all__ = ["Feed"]


@dataclass(frozen=True, kw_only=True)
class Feed:
    """A stream of batches from some images of a set.

    rows: LongTensor, the images of `photos` it draws from; stream: its name, so that two feeds are independent.
    """

    photos: PhotoSet
    rows: torch.Tensor
    batch_size: int
    augment: AugmentConfig
    convention: Input
    device: torch.device
    seed: int
    stream: str

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Step's batch: x float[B, 3, h, w], normalised, channels last; y float[B, 1, h, w] of zeros and ones."""
        picked = self.rows[batch_indices(len(self.rows), self.batch_size, step, self.seed, self.stream)]
        images, masks = self.photos.batch(picked, self.device)
        x, y = augment(images, masks, generator(self.seed, f"{self.stream}/augment", step), self.augment)
        x = normalise(x, self.convention.mean, self.convention.std)
        return x.contiguous(memory_format=torch.channels_last), y
