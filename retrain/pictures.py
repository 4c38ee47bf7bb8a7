"""Photographs beside their masks and maps, as one picture."""

import torch
from torch import Tensor

from nas.task import PhotoSet
from retrain.predictor import Predictor

__all__ = ["strip"]


def strip(predict: Predictor, photos: PhotoSet, rows: Tensor) -> Tensor:
    """uint8[3, 3 S, n S]: the photographs of these rows, their masks and their maps, a column each."""
    images, masks = photos.batch(rows, "cpu")
    maps = (predict.probabilities(images.float() / 255).cpu() * 255).round().to(torch.uint8)
    columns = torch.cat([images, masks.expand_as(images), maps.expand_as(images)], dim=2)
    return torch.cat(list(columns), dim=2)
