"""What is made of photographs and their maps: pictures."""

import numpy as np
import torch
from torch import Tensor

from nas.task import PhotoSet
from retrain.predictor import Predictor

__all__ = ["contact", "cutout", "strip"]

_PAPER = 215  # grey behind a cut-out


def strip(predict: Predictor, photos: PhotoSet, rows: Tensor) -> Tensor:
    """uint8[3, 3 S, n S]: the photographs of these rows, their masks and their maps, a column each."""
    images, masks = photos.batch(rows, "cpu")
    maps = (predict.probabilities(images.float() / 255).cpu() * 255).round().to(torch.uint8)
    columns = torch.cat([images, masks.expand_as(images), maps.expand_as(images)], dim=2)
    return torch.cat(list(columns), dim=2)


def cutout(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """uint8[H, W, 4]: the photograph uint8[H, W, 3] with its map uint8[H, W] as alpha channel."""
    return np.dstack([photo, saliency])


def contact(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """uint8[H, 3 W, 3]: photograph, map and cut-out side by side."""
    alpha = saliency[..., None] / 255.0
    on_paper = (photo * alpha + _PAPER * (1 - alpha) + 0.5).astype(np.uint8)
    return np.concatenate([photo, np.repeat(saliency[..., None], 3, axis=2), on_paper], axis=1)
