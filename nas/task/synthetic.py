"""Procedural photographs with salient objects: the data a fresh machine has.

What is salient follows a rule that no single pixel, colour or size tells: **the large thing that stands out**.
Around it lie small things that stand out as much, often in the object's own colours; large things that hardly differ
from the background; stubs at the border; lines across the picture; its shadow. None of these is in the mask.
So a network needs both detail (contrast, texture) and context (how large, how different from what is around).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from nas.task._shapes import Shape, random_shape, thin_line
from nas.task._surfaces import ON_GROUNDS, draw, far_colour, length, noise, random_colour, texture
from nas.task.photos import PhotoSet

__all__ = ["SYNTHETIC_VERSION", "synthetic_pictures", "synthetic_set"]

SYNTHETIC_VERSION = 2  # raise when pictures change: it is part of the cache's key

Array = np.ndarray


def synthetic_set(count: int, size: int, seed: int) -> PhotoSet:
    """`count` pictures and masks of `size` x `size` pixels. Picture i depends on (seed, i, size) alone.

    The same scene comes at every size, but for its grain.

    Raises:
        ValueError: count below 1, size below 16 or a negative seed.
    """
    pictures = synthetic_pictures(count, size, seed)
    images, masks = np.empty((count, 3, size, size), np.uint8), np.empty((count, 1, size, size), np.uint8)
    for i, (image, mask) in enumerate(pictures):
        images[i], masks[i, 0] = image, mask
    names = tuple(f"{i:06d}" for i in range(count))
    return PhotoSet(name="synthetic", images=torch.from_numpy(images), masks=torch.from_numpy(masks), names=names)


def synthetic_pictures(count: int, size: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """The same one by one, uint8[3, size, size] and uint8[size, size], for a set that memory does not hold."""
    if count < 1 or size < 16 or seed < 0:
        raise ValueError(f"need count >= 1, size >= 16, seed >= 0; got {count}, {size}, {seed}")
    return (_picture(seed, i, size) for i in range(count))


class _Thing:
    """A shape put somewhere: its coverage of pixels."""

    def __init__(self, shape: Shape, x: float, y: float, scale: float, turn: float, size: int) -> None:
        self.shape, self.x, self.y, self.scale, self.turn, self.size = shape, x, y, scale, turn, size

    def local(self, dx: float = 0.0, dy: float = 0.0) -> tuple[Array, Array]:
        """(u, v): pixel centres in the shape's own coordinates, if it were moved by (dx, dy)."""
        xx, yy = _pixels(self.size)
        p, q = (xx - self.x - dx) / self.scale, (yy - self.y - dy) / self.scale
        cos, sin = float(np.cos(self.turn)), float(np.sin(self.turn))
        return cos * p + sin * q, cos * q - sin * p

    def coverage(self, soft: float = 0.0, dx: float = 0.0, dy: float = 0.0) -> Array:
        """float32[S, S] in 0..1; the edge is one pixel wide, or `soft` (in half picture widths) if that is more."""
        distance = self.shape(*self.local(dx, dy)) * self.scale
        return np.clip(0.5 - distance / max(soft, 2 / self.size), 0, 1)

    def with_area(self, low: float, high: float) -> tuple[_Thing, Array]:
        """The thing, rescaled if need be to cover low..high of the picture, and its coverage."""
        thing, cover = self, self.coverage()
        for _ in range(3):
            area = float(cover.mean())
            if low <= area <= high:
                break
            factor = (min(max(area, 1.15 * low), 0.87 * high) / max(area, 1e-4)) ** 0.5
            thing = _Thing(self.shape, self.x, self.y, thing.scale * min(factor, 3.0), self.turn, self.size)
            cover = thing.coverage()
        return thing, cover


@lru_cache(maxsize=8)
def _pixels(size: int) -> tuple[Array, Array]:
    at = ((np.arange(size) + 0.5) / size * 2 - 1).astype(np.float32)
    xx, yy = np.meshgrid(at, at)
    return xx, yy


def _picture(seed: int, index: int, size: int) -> tuple[Array, Array]:
    """uint8[3, size, size] and uint8[size, size]."""
    rng = np.random.default_rng([seed, index])
    image, ground = _background(rng, size)
    objects = []
    for _ in range(1 + (rng.random() < 0.22)):
        reach = 0.35 if rng.random() < 0.5 else 0.65
        place = (draw(rng, -reach, reach), draw(rng, -reach, reach))
        thing = _Thing(random_shape(rng), *place, draw(rng, 0.25, 0.75), draw(rng, -0.6, 0.6), size)
        objects.append((*thing.with_area(0.045, 0.4), _paint(rng, ground)))
    smallest = min(float(cover.mean()) for _, cover, _ in objects)

    for _ in range(int(rng.integers(0, 4))):
        _faint(rng, image, size)
    for _ in range(int(rng.integers(1, 8))):
        _small(rng, image, ground, size, smallest, objects[0][2].colours if rng.random() < 0.6 else None)
    if rng.random() < 0.3:
        _line(rng, image, size)

    mask = np.zeros((size, size), np.float32)
    light = draw(rng, 0, 2 * np.pi)
    for thing, cover, paint in objects:
        if rng.random() < 0.6:
            _shadow(rng, image, thing, light)
        _blend(image, cover, paint(rng, thing, light))
        mask = np.maximum(mask, cover)
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.15 else 0):
        mask = mask * (1 - _line(rng, image, size))
    _lens(rng, image, size)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8), (mask * 255 + 0.5).astype(np.uint8)


def _blend(image: Array, cover: Array, colour: Array) -> None:
    """Lay a colour float32[3, 1, 1] or [3, S, S] over the image, in place."""
    image += cover * (colour - image)


def _background(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """The empty scene float32[3, S, S] and its mean colour float32[3]."""
    xx, yy = _pixels(size)
    base = random_colour(rng)
    other = far_colour(rng, base, 0.04, 0.22)
    image = base[:, None, None] + (other - base)[:, None, None] * texture(rng, xx, yy, ON_GROUNDS)
    if rng.random() < 0.35:  # sky and ground, wall and table
        colour = far_colour(rng, base, 0.1, 0.4)
        tilt, level, soft = draw(rng, -0.25, 0.25), draw(rng, -0.6, 0.7), draw(rng, 0.02, 0.3)
        zone = np.clip(0.5 + (yy - level - tilt * xx) / soft, 0, 1)
        more = far_colour(rng, colour, 0.02, 0.15)
        _blend(image, zone, colour[:, None, None] + (more - colour)[:, None, None] * texture(rng, xx, yy, ON_GROUNDS))
    if rng.random() < 0.7:  # uneven light
        image *= 1 + draw(rng, 0.1, 0.7) * (noise(rng, size, 1, 1) - 0.5)
    return image, image.mean((1, 2))


class _Paint:
    """Colours and pattern of an object; called with the object to give float32[3, S, S]."""

    def __init__(self, colours: tuple[Array, Array], strength: float) -> None:
        self.colours, self.strength = colours, strength

    def __call__(self, rng: np.random.Generator, thing: _Thing, light: float) -> Array:
        u, v = thing.local()
        first, second = (c[:, None, None] for c in self.colours)
        pattern = texture(rng, u, v)
        if rng.random() < 0.3:  # two parts of different colour
            cut = draw(rng, -0.4, 0.4)
            pattern = np.clip((v - cut) * 12, 0, 1) * 0.75 + 0.25 * pattern
        surface = first + (second - first) * (self.strength * pattern)
        bulge = draw(rng, 0, 0.45)  # darker away from the light, as round things are
        xx, yy = _pixels(thing.size)
        away = ((xx - thing.x) * float(np.cos(light)) + (yy - thing.y) * float(np.sin(light))) / thing.scale
        return surface * (1 - bulge * np.clip(away, -0.8, 1))


def _paint(rng: np.random.Generator, ground: Array) -> _Paint:
    """What makes an object stand out: mostly its colour, sometimes only its pattern."""
    kind = rng.random()
    if kind < 0.18:  # the mean colour is the background's; the pattern is not
        first = far_colour(rng, ground, 0.25, 0.45)
        second = np.clip(2 * ground - first, 0.02, 0.98).astype(np.float32)
        return _Paint((first, second), 1.0)
    low, high = (0.2, 0.33) if kind < 0.45 else (0.33, 0.9)
    first = far_colour(rng, ground, low, high)
    second = far_colour(rng, first, 0.05, 0.5)
    if length(second - ground) < low:
        second = first
    return _Paint((first, second), draw(rng, 0.2, 1.0))


def _faint(rng: np.random.Generator, image: Array, size: int) -> None:
    """A distractor as large as an object that hardly differs from what is behind it."""
    thing = _Thing(random_shape(rng), draw(rng, -1, 1), draw(rng, -1, 1), draw(rng, 0.3, 0.8), draw(rng, -3, 3), size)
    shift = far_colour(rng, np.full(3, 0.5, np.float32), 0.03, 0.11) - np.float32(0.5)
    image += thing.coverage(soft=draw(rng, 0, 0.12)) * shift[:, None, None]


def _small(
    rng: np.random.Generator,
    image: Array,
    ground: Array,
    size: int,
    object_area: float,
    colours: tuple[Array, Array] | None,
) -> None:
    """A distractor that stands out but is small, or a stub that is mostly outside the picture."""
    x, y = draw(rng, -0.95, 0.95), draw(rng, -0.95, 0.95)
    if rng.random() < 0.25:
        x, y = (x, float(rng.choice([-1.1, 1.1]))) if rng.random() < 0.5 else (float(rng.choice([-1.1, 1.1])), y)
    thing = _Thing(random_shape(rng), x, y, draw(rng, 0.06, 0.22), draw(rng, -3, 3), size)
    _, cover = thing.with_area(0.0, 0.14 * object_area)
    colour = colours[int(rng.integers(2))] if colours else far_colour(rng, ground, 0.25, 0.9)
    _blend(image, cover, colour[:, None, None] * draw(rng, 0.85, 1.1))


def _line(rng: np.random.Generator, image: Array, size: int) -> Array:
    """A line across the picture, drawn in place; returns its coverage."""
    thing = _Thing(thin_line(rng), draw(rng, -0.6, 0.6), draw(rng, -0.6, 0.6), 1.0, draw(rng, -3, 3), size)
    cover = thing.coverage()
    _blend(image, cover, random_colour(rng)[:, None, None])
    return cover


def _shadow(rng: np.random.Generator, image: Array, thing: _Thing, light: float) -> None:
    far = draw(rng, 0.05, 0.35) * thing.scale
    cover = thing.coverage(draw(rng, 0.04, 0.3), float(np.cos(light)) * far, float(np.sin(light)) * far)
    image *= 1 - draw(rng, 0.2, 0.6) * cover


def _lens(rng: np.random.Generator, image: Array, size: int) -> None:
    """Haze, vignette, colour cast, greyscale and grain, in place."""
    xx, yy = _pixels(size)
    haze = draw(rng, 0, 0.35) if rng.random() < 0.4 else 0.0
    image += haze * (random_colour(rng)[:, None, None] - image)
    image *= 1 - draw(rng, 0, 0.3) * (xx * xx + yy * yy) / 2
    image *= rng.uniform(0.9, 1.1, 3).astype(np.float32)[:, None, None]
    if rng.random() < 0.06:
        image[:] = image.mean(0)
    grain = draw(rng, 0, 0.035)
    image += grain * rng.standard_normal(image.shape, dtype=np.float32)
