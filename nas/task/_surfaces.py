"""Textures and colours of procedural pictures."""

import math
from functools import lru_cache

import numpy as np

__all__ = ["ON_GROUNDS", "ON_OBJECTS", "draw", "far_colour", "noise", "random_colour", "texture"]

Array = np.ndarray


def draw(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform, as a Python float: numpy's own would turn float32 arrays into float64."""
    return float(rng.uniform(low, high))


def random_colour(rng: np.random.Generator) -> Array:
    """float32[3], RGB: mostly muted, now and then vivid, as in photographs."""
    grey, vivid = rng.uniform(0.12, 0.88), rng.beta(1.0, 3.5)
    warmth, green = rng.uniform(-1, 1), rng.uniform(-0.6, 0.6)  # light is mostly warmer or cooler, seldom magenta
    tint = np.array([warmth + 0.3 * green, green, -warmth + 0.3 * green])
    return np.clip(grey + 0.5 * vivid * tint, 0.02, 0.98).astype(np.float32)


def far_colour(rng: np.random.Generator, reference: Array, low: float, high: float) -> Array:
    """A colour at an RGB distance of about low..high from `reference`."""
    direction = rng.normal(size=3)
    # Half of every difference is in brightness alone: that is how most things differ.
    direction = direction / length(direction) + rng.choice([-1, 1]) * 0.6
    direction = direction / length(direction) * rng.uniform(low, high)
    there, back = (np.clip(reference + sign * direction, 0.02, 0.98) for sign in (1, -1))
    return (there if length(there - reference) >= length(back - reference) else back).astype(np.float32)


def length(colour: Array) -> float:
    """Of a vector of three. Not numpy's norm: its last bit depends on the processor, and we compare equal lengths."""
    x, y, z = colour.tolist()
    return math.sqrt(x * x + y * y + z * z)


@lru_cache(maxsize=256)
def _spread(size: int, cells: int) -> Array:
    """float32[size, cells + 1]: smooth interpolation from a grid's corners to pixel centres."""
    at = (np.arange(size) + 0.5) / size * cells
    left = np.minimum(at.astype(int), cells - 1)
    t = at - left
    t = t * t * (3 - 2 * t)
    weights = np.zeros((size, cells + 1), np.float32)
    weights[np.arange(size), left] = 1 - t
    weights[np.arange(size), left + 1] = t
    return weights


def noise(rng: np.random.Generator, size: int, cells_y: int, cells_x: int) -> Array:
    """float32[size, size] in 0..1: smooth random hills. The hills are the same at every size."""
    grid = rng.random((cells_y + 1, cells_x + 1), dtype=np.float32)
    return _spread(size, cells_y) @ grid @ _spread(size, cells_x).T


# Clouds, streaks, stripes, tiles, checks, spots, nearly plain: how often each covers an object, and a background.
ON_OBJECTS = (0.2, 0.15, 0.17, 0.08, 0.08, 0.12, 0.2)
ON_GROUNDS = (0.36, 0.2, 0.08, 0.05, 0.02, 0.04, 0.25)


def texture(rng: np.random.Generator, u: Array, v: Array, shares: tuple[float, ...] = ON_OBJECTS) -> Array:
    """float32[S, S] in about 0..1 over coordinates (u, v), of a random kind."""
    size, kind = u.shape[0], int(np.searchsorted(np.cumsum(shares), rng.random()))
    if kind <= 1:  # clouds, rock, grass
        cells = int(rng.integers(2, 7))
        stretch = int(rng.integers(1, 4)) if kind else 1
        rough = draw(rng, 0.4, 0.75)
        weight, total = 1.0, 0.0
        out: Array = np.zeros((size, size), np.float32)
        for octave in range(3):
            out = out + weight * noise(rng, size, cells * 2**octave, cells * stretch * 2**octave)
            total, weight = total + weight, weight * rough
        return (out / total - 0.5) * 1.6 + 0.5
    angle, step = draw(rng, 0, math.pi), draw(rng, 0.08, 0.4)
    s = (math.cos(angle) * u + math.sin(angle) * v) / step
    t = (math.cos(angle) * v - math.sin(angle) * u) / step
    if kind == 2:  # stripes, warped as wood and cloth are
        warp = draw(rng, 0, 1.2) * noise(rng, size, 3, 3)
        return 0.5 + 0.5 * np.sin(math.tau * (s + warp))
    if kind == 3:  # tiles with joints
        row = np.floor(t)
        joint = np.minimum(np.abs((s + 0.5 * (row % 2)) % 1 - 0.5), np.abs(t % 1 - 0.5))
        return np.clip((0.5 - joint) * 8 - 3, 0, 1)
    if kind == 4:  # checks
        return np.clip(0.5 + 4 * np.sin(math.pi * s) * np.sin(math.pi * t), 0, 1)
    if kind == 5:  # spots
        return np.clip((0.32 - np.hypot(s % 1 - 0.5, t % 1 - 0.5)) * 8, 0, 1)
    return noise(rng, size, 2, 2)  # nearly plain
