"""Fine-tuning `sod_s` on pictures of another kind: before, after, and against training from ImageNet weights alone.

    python benchmarks/own_photographs.py --weights mobilenet_v2.pth [--pairs 100] [--seeds 0 1 2] --out runs/own

The pictures are woven patches: the object is where the threads run another way, in colours of its surroundings; bright
dots lie about and belong to nothing. A network that looks for what stands out in a photograph finds the dots. 300 more
pictures, which no training sees, score all networks.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

_SIDE = 160
_TEST = 300
_STEPS = 400


def woven_patch(seed: int, index: int, side: int = _SIDE) -> tuple[Image.Image, Image.Image]:
    """Picture `index`: RGB and its mask (L, 0 or 255), a function of seed and index."""
    rng = np.random.default_rng((seed, index))
    y, x = np.mgrid[:side, :side] / side
    mask = _blob(rng, x, y)
    angle, other = rng.uniform(0, math.pi, 1)[0], rng.uniform(0.3, 0.7) * math.pi
    base, thread = rng.uniform(0.3, 0.7, 3), rng.uniform(0.08, 0.16)
    waves = rng.uniform(12, 18)
    threads = np.where(mask, _threads(rng, x, y, angle + other, waves), _threads(rng, x, y, angle, waves))
    light = 1 + 0.3 * (np.cos(rng.uniform(0, 2 * math.pi)) * (x - 0.5) + np.sin(rng.uniform(0, 2 * math.pi)) * (y - 0.5))
    picture = (base + thread * threads[..., None]) * light[..., None] + rng.normal(0, 0.03, (side, side, 3))
    for _ in range(rng.integers(2, 6)):
        cx, cy, radius = rng.uniform(0.05, 0.95), rng.uniform(0.05, 0.95), rng.uniform(0.02, 0.06)
        dot = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        picture[dot] = rng.permutation([0.95, rng.uniform(0, 0.5), 0.1])
    image = Image.fromarray((picture.clip(0, 1) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    return image, Image.fromarray(mask.astype(np.uint8) * 255)


def _blob(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool[H, W]: a smooth closed outline, a twentieth to a third of the picture."""
    cx, cy, size = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.3)
    phi = np.arctan2(y - cy, x - cx)
    waves = sum(rng.normal(0, 0.12 / k) * np.cos(k * phi + rng.uniform(0, 2 * math.pi)) for k in (2, 3, 4, 5))
    return np.hypot(x - cx, y - cy) < size * (1 + waves)


def _threads(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, angle: float, waves: float) -> np.ndarray:
    across = np.cos(angle) * x + np.sin(angle) * y + 0.01 * np.sin(2 * math.pi * (3 * y + rng.uniform()))
    return np.sin(2 * math.pi * (waves * across + rng.uniform()))


def write_pairs(folder: Path, seed: int, count: int) -> Path:
    """images/ and masks/ of so many pictures, as PNG; what is there already stays."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        for part, image in zip(("images", "masks"), woven_patch(seed, index), strict=True):
            if not (path := folder / part / f"{index:04d}.png").is_file():
                image.save(path)
    return folder
