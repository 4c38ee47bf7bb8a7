"""What is made of a photograph and its map."""

import numpy as np

__all__ = ["contact", "cutout"]

_PAPER = 215  # grey behind a cut-out


def cutout(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """uint8[H, W, 4]: the photograph uint8[H, W, 3] with its map uint8[H, W] as alpha channel."""
    return np.dstack([photo, saliency])


def contact(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """uint8[H, 3 W, 3]: photograph, map and cut-out side by side."""
    alpha = saliency[..., None] / 255.0
    on_paper = (photo * alpha + _PAPER * (1 - alpha) + 0.5).astype(np.uint8)
    return np.concatenate([photo, np.repeat(saliency[..., None], 3, axis=2), on_paper], axis=1)
