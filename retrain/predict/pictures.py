"""What is made of a photograph and its map."""

import numpy as np

__all__ = ["contact"]

_PAPER = 215  # grey behind a cut-out


def contact(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """uint8[H, 3 W, 3]: photograph, map and cut-out side by side."""
    alpha = saliency[..., None] / 255.0
    cut_out = (photo * alpha + _PAPER * (1 - alpha) + 0.5).astype(np.uint8)
    return np.concatenate([photo, np.repeat(saliency[..., None], 3, axis=2), cut_out], axis=1)
