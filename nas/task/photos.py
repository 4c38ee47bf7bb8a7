"""A set of photographs with masks, decoded, at one size or each at its own: what training reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from nas.run.device import sent
from nas.task.reading import resize

__all__ = ["NativeSet", "PhotoSet"]

_GPU_SHARE = 0.5  # of the free memory: the rest belongs to the network and its activations


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoSet:
    """Photographs and their masks as bytes at one square size.

    Attributes:
        name: what tables and plots call the set.
        images: uint8[N, 3, S, S], RGB.
        masks: uint8[N, 1, S, S], 0 to 255. Edges are graded; the object is where a value is > 127. What is judged is
            judged by these.
        names: one name an image, without extension.
        nearest: uint8[N, 1, S, S], the masks resized by nearest neighbour, to train on in place of `masks`; or None.
        teacher: uint8[N, 1, S, S], another network's maps as a further target; or None.
        unlabelled: the last so many have no mask: the teacher's map stands for it. None of them is ever held out.
    """

    name: str
    images: Tensor
    masks: Tensor
    names: tuple[str, ...]
    nearest: Tensor | None = None
    teacher: Tensor | None = None
    unlabelled: int = 0

    def __post_init__(self) -> None:
        n, _, height, width = self.images.shape
        if tuple(self.images.shape) != (n, 3, height, width) or self.images.dtype != torch.uint8:
            raise ValueError(f"images must be uint8[N, 3, S, S], got {self.images.dtype}{list(self.images.shape)}")
        if tuple(self.masks.shape) != (n, 1, height, width) or self.masks.dtype != torch.uint8:
            raise ValueError(f"masks must be uint8[N, 1, S, S], got {self.masks.dtype}{list(self.masks.shape)}")
        for name, more in (("nearest", self.nearest), ("teacher", self.teacher)):
            if more is not None and (more.shape, more.dtype) != (self.masks.shape, torch.uint8):
                raise ValueError(f"{name} must be like the masks, got {more.dtype}{list(more.shape)}")
        if len(self.names) != n:
            raise ValueError(f"{n} images but {len(self.names)} names")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    @property
    def labelled(self) -> int:
        """How many have a mask: the first so many."""
        return len(self) - self.unlabelled

    @property
    def trained_masks(self) -> Tensor:
        """uint8[N, 1, S, S]: the masks that training reads."""
        return self.masks if self.nearest is None else self.nearest

    @property
    def nbytes(self) -> int:
        """Bytes that all of it takes."""
        return sum(part.numel() for part in (self.images, self.masks, self.nearest, self.teacher) if part is not None)

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.images.device

    @cached_property
    def fingerprint(self) -> str:
        """How many, and a digest that changes with their names, their order and the pixels that are trained on."""
        digest = hashlib.sha256("\n".join(self.names).encode(errors="surrogateescape"))
        place = np.arange(1, len(self) + 1)
        for pixels in (self.images, self.trained_masks, *([] if self.teacher is None else [self.teacher])):
            digest.update(str((self._sums(pixels) * place).sum()).encode())
        return f"{len(self)} photographs ({digest.hexdigest()[:12]})"

    def _sums(self, part: Tensor) -> np.ndarray:
        """int64[N]: the sum of each one's pixels. By NumPy: torch makes int64 of all bytes first."""
        return np.concatenate([some.flatten(1).cpu().numpy().sum(1, dtype=np.int64) for some in part.split(256)])

    def alike(self, rows: Tensor, count: int) -> Sequence[Tensor]:
        """The rows in order, in groups of at most `count` that one batch can hold."""
        return rows.split(count)

    def subset(self, indices: Sequence[int] | Tensor, *, name: str | None = None) -> PhotoSet:
        """A copy of the chosen images and masks, in the order given, to judge by: without what only training reads.

        For a set too large for memory keep the indices instead and pass them to `batch`.
        """
        rows = torch.as_tensor(indices, dtype=torch.long)
        here = rows.to(self.device)
        names = tuple(self.names[i] for i in rows.tolist())
        return PhotoSet(name=name or self.name, images=self.images[here], masks=self.masks[here], names=names)

    def batch(
        self, indices: Tensor, device: torch.device | str | None = None, *, train: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Images uint8[B, 3, S, S] and masks uint8[B, 1, S, S] of these indices, on `device` (default: the set's).

        train: the masks to train on; where there are a teacher's maps uint8[B, 2, S, S], these behind the masks.
        """
        take = self._taker(indices)
        images, masks = take(self.images), take(self.trained_masks if train else self.masks)
        if train and self.teacher is not None:
            masks = torch.cat([masks, take(self.teacher)], dim=1)
        return (images, masks) if device is None else (sent(images, device), sent(masks, device))

    def _taker(self, indices: Tensor) -> Callable[[Tensor], Tensor]:
        """What takes these indices of a part of the set (its images, its masks, ...)."""
        here = sent(indices, self.device)
        return lambda part: part[here]

    def strip(self, rows: Tensor, maps: Tensor | Sequence[Tensor]) -> np.ndarray:
        """uint8[3 S, n S, 3]: the photographs of these n rows, their masks, and maps float[1, S, S] each, in 0..1."""
        images, masks = self.batch(rows, "cpu")
        levels = (torch.stack(list(maps)).cpu() * 255).round().to(torch.uint8)
        columns = torch.cat([images, masks.expand_as(images), levels.expand_as(images)], dim=2)
        return torch.cat(list(columns), dim=2).permute(1, 2, 0).numpy()

    def to(self, device: torch.device | str) -> PhotoSet:
        """The set on `device`, or the set itself where it would take more than half of the GPU's free memory.

        Either way `batch(indices, device)` gives batches on the device.
        """
        device = torch.device(device)
        if device.type == "cuda" and self.device.type != "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.nbytes > _GPU_SHARE * free:
                return self
        moved = {
            name: part.to(device)
            for name in ("images", "masks", "nearest", "teacher")
            if (part := getattr(self, name)) is not None
        }
        return replace(self, **moved)


_TILE = 160  # pixels: side of the pictures in a strip of photographs of many sizes


@dataclass(frozen=True, kw_only=True, eq=False)
class NativeSet(PhotoSet):
    """Photographs and their masks as bytes, each at its own size; a batch holds one.

    Attributes:
        images: uint8[3 P], one photograph [3, H, W] behind the other; P pixels in all.
        masks: uint8[P], like them; so is teacher.
        shapes: (H, W) of each.
    """

    shapes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if len(self.shapes) != len(self.names) or self.nearest is not None:
            raise ValueError(f"{len(self.names)} names but {len(self.shapes)} shapes, or masks that are resized")
        for part, planes in ((self.images, 3), (self.masks, 1), (self.teacher, 1)):
            if part is not None and (part.shape, part.dtype) != ((planes * self._starts[-1],), torch.uint8):
                raise ValueError(f"expected uint8[{planes * self._starts[-1]}], got {part.dtype}{list(part.shape)}")

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(height * width for height, width in self.shapes)]

    def _of(self, part: Tensor, index: int) -> Tensor:
        """uint8[1, 3 or 1, H, W]: one photograph's."""
        start, stop = self._starts[index : index + 2]
        planes = len(part) // self._starts[-1]
        return part[planes * start : planes * stop].view(1, planes, *self.shapes[index])

    def _sums(self, part: Tensor) -> np.ndarray:
        return np.array([self._of(part, i).cpu().numpy().sum(dtype=np.int64) for i in range(len(self))])

    @property
    def size(self) -> int:
        """The longest side of all."""
        return max(map(max, self.shapes))

    @cached_property
    def fingerprint(self) -> str:
        """As of a set at one size, and of the shapes."""
        return f"{super().fingerprint} of {hashlib.sha256(str(self.shapes).encode()).hexdigest()[:12]}"

    def alike(self, rows: Tensor, count: int) -> Sequence[Tensor]:
        """Each row alone."""
        return rows.split(1)

    def subset(self, indices: Sequence[int] | Tensor, *, name: str | None = None) -> NativeSet:
        """A copy of the chosen images and masks, in the order given; without the teacher's maps."""
        rows = torch.as_tensor(indices, dtype=torch.long).tolist()
        images, masks = (torch.cat([self._of(part, i).flatten() for i in rows]) for part in (self.images, self.masks))
        names, shapes = tuple(self.names[i] for i in rows), tuple(self.shapes[i] for i in rows)
        return NativeSet(name=name or self.name, images=images, masks=masks, names=names, shapes=shapes)

    def _taker(self, indices: Tensor) -> Callable[[Tensor], Tensor]:
        (index,) = indices.tolist()
        return lambda part: self._of(part, index)

    def strip(self, rows: Tensor, maps: Tensor | Sequence[Tensor]) -> np.ndarray:
        """As of a set at one size, each picture squeezed to a square."""
        columns = []
        for row, level in zip(rows, maps, strict=True):
            image, mask = (part[0].permute(1, 2, 0).numpy() for part in self.batch(row[None], "cpu"))
            saliency = (level[0].cpu() * 255).round().to(torch.uint8).numpy()
            grey = [np.repeat(resize(part, _TILE)[..., None], 3, axis=2) for part in (mask[..., 0], saliency)]
            columns.append(np.vstack([resize(image, _TILE), *grey]))
        return np.hstack(columns)
