"""From a photograph to its map, and the picture that shows both."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from nas.task import read_image
from nas.task.metrics import to_bytes
from retrain.predictor import Predictor

__all__ = ["contact", "predict_map", "read_photo"]

_ORIENTATION = 0x0112  # the EXIF tag
_PAPER = 215  # grey behind a cut-out


def read_photo(path: Path) -> np.ndarray:
    """uint8[H, W, 3], RGB, upright as viewers show it (cameras store the turn beside the pixels).

    Raises DataError for a file that cannot be read.
    """
    picture = Image.fromarray(read_image(path))
    with Image.open(path) as file:
        picture.getexif()[_ORIENTATION] = file.getexif().get(_ORIENTATION, 1)
    return np.asarray(ImageOps.exif_transpose(picture))


def predict_map(predict: Predictor, photo: np.ndarray, size: tuple[int, int], *, antialias: bool = True) -> np.ndarray:
    """The map uint8[H, W] of a photograph uint8[H, W, 3]; size: the (H, W) that the network sees.

    antialias: see `nas.task.read_image`; without, a map is the one that `retrain.evaluate --no-antialias` scores.
    """
    seen = np.array(_resize(Image.fromarray(photo), size, antialias))
    probs = predict(torch.from_numpy(seen).permute(2, 0, 1)[None].float() / 255)
    return to_bytes(probs[0, 0].cpu().numpy(), *photo.shape[:2])


def _resize(picture: Image.Image, size: tuple[int, int], antialias: bool) -> Image.Image:
    height, width = size
    if antialias:
        return picture.resize((width, height), Image.Resampling.BILINEAR)
    # As `read_image`, which is for squares: a geometric transform reads the four nearest points.
    step = (picture.width / width, 0, 0, 0, picture.height / height, 0)
    return picture.transform((width, height), Image.Transform.AFFINE, step, Image.Resampling.BILINEAR)


def contact(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """uint8[H, 3 W, 3]: photograph, map and cut-out side by side."""
    alpha = saliency[..., None] / 255.0
    cut_out = (photo * alpha + _PAPER * (1 - alpha) + 0.5).astype(np.uint8)
    return np.concatenate([photo, np.repeat(saliency[..., None], 3, axis=2), cut_out], axis=1)
