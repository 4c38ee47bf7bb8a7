"""Scores of a network while it trains: quick, at the training size, on the training's own device."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genotypes import Input
from nas.task.augmentation import normalise
from nas.task.losses import LossConfig, multi_output_loss
from nas.task.photos import PhotoSet
from nas.task.scores import fast_scores

__all__ = ["quick_scores"]


@torch.no_grad()
def quick_scores(
    forward: Callable[[Tensor], Sequence[Tensor]],
    photos: PhotoSet,
    rows: Tensor,
    convention: Input,
    loss: LossConfig,
    *,
    chunk: int,
    device: torch.device,
) -> dict[str, float]:
    """Loss, maxF and raw MAE of some photographs; of a network that has diverged: infinity, 0 and 1.

    forward: normalised images float[N, 3, H, W] -> logits, the first at full size; put it in eval mode before.
    rows: int64[K] of `photos`; chunk: images at a time.
    """
    total, maps = 0.0, []
    for part in rows.split(chunk):
        images, masks = photos.batch(part, device)
        x = normalise(images.float() / 255, convention.mean, convention.std)
        outputs = forward(x.contiguous(memory_format=torch.channels_last))
        total += float(multi_output_loss(outputs, (masks > 127).float(), loss)) * len(part)
        maps.append(outputs[0].sigmoid())
    if not math.isfinite(total):
        return {"loss": math.inf, "maxF": 0.0, "MAE": 1.0}
    scores = fast_scores(torch.cat(maps), photos.batch(rows, device)[1])
    return {"loss": total / len(rows), "maxF": scores.maxF, "MAE": scores.MAE_raw}
