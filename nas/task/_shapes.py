"""Outlines of procedural objects, as signed distances: negative inside, about one unit in radius.

Distances compose by `minimum` (union) and `maximum` (cut), and give an antialiased edge or a soft shadow for free.
"""

import math
from collections.abc import Callable

import numpy as np

from nas.task._surfaces import draw

__all__ = ["Shape", "random_shape", "thin_line"]

Array = np.ndarray
Shape = Callable[[Array, Array], Array]  # (u, v) float32[S, S] local coordinates -> signed distance float32[S, S]


def random_shape(rng: np.random.Generator) -> Shape:
    """A shape of a random family: simple, with holes, compound, or with thin parts."""
    return _FAMILIES[int(rng.integers(len(_FAMILIES)))](rng)


def thin_line(rng: np.random.Generator) -> Shape:
    """A slightly bent line right across the picture: a wire, a branch, a blade of grass."""
    bend, width = draw(rng, -0.15, 0.15), draw(rng, 0.012, 0.035)
    return lambda u, v: np.abs(v - bend * u * u) - width


def _ellipse(u: Array, v: Array, a: float, b: float, x: float = 0.0) -> Array:
    return (np.hypot((u - x) / a, v / b) - 1) * min(a, b)


def _box(u: Array, v: Array, a: float, b: float, corner: float, x: float = 0.0, y: float = 0.0) -> Array:
    p, q = np.abs(u - x) - (a - corner), np.abs(v - y) - (b - corner)
    return np.hypot(np.maximum(p, 0), np.maximum(q, 0)) + np.minimum(np.maximum(p, q), 0) - corner


def _capsule(u: Array, v: Array, start: tuple[float, float], end: tuple[float, float], radius: float) -> Array:
    dx, dy = end[0] - start[0], end[1] - start[1]
    p, q = u - start[0], v - start[1]
    along = np.clip((p * dx + q * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
    return np.hypot(p - along * dx, q - along * dy) - radius


def _union(*parts: Array) -> Array:
    out = parts[0]
    for part in parts[1:]:
        out = np.minimum(out, part)
    return out


def ellipse(rng: np.random.Generator) -> Shape:
    b = draw(rng, 0.45, 1.0)
    return lambda u, v: _ellipse(u, v, 1.0, b)


def slab(rng: np.random.Generator) -> Shape:
    b, corner = draw(rng, 0.35, 0.9), draw(rng, 0.02, 0.3)
    return lambda u, v: _box(u, v, 0.9, b, corner)


def polygon(rng: np.random.Generator) -> Shape:
    sides, start = int(rng.integers(3, 8)), draw(rng, 0, math.tau)
    turns = [start + math.tau * (k + draw(rng, -0.25, 0.25)) / sides for k in range(sides)]
    reach = [draw(rng, 0.5, 0.85) for _ in range(sides)]

    def shape(u: Array, v: Array) -> Array:
        out = math.cos(turns[0]) * u + math.sin(turns[0]) * v - reach[0]
        for turn, far in zip(turns[1:], reach[1:], strict=True):
            out = np.maximum(out, math.cos(turn) * u + math.sin(turn) * v - far)
        return out

    return shape


def blob(rng: np.random.Generator) -> Shape:
    waves = [(k, draw(rng, 0, 0.35) / math.sqrt(k), draw(rng, 0, math.tau)) for k in (2, 3, 5)]

    def shape(u: Array, v: Array) -> Array:
        angle, edge = np.arctan2(v, u), np.float32(0.8)
        for k, height, phase in waves:
            edge = edge + height * 0.8 * np.cos(k * angle + phase)
        return (np.hypot(u, v) - edge) * 0.8

    return shape


def star(rng: np.random.Generator) -> Shape:
    arms, depth = int(rng.integers(4, 9)), draw(rng, 0.25, 0.6)

    def shape(u: Array, v: Array) -> Array:
        wave = np.abs((np.arctan2(v, u) * (arms / math.tau)) % 1 * 2 - 1)
        return (np.hypot(u, v) - (1 - depth * (1 - wave))) * 0.6

    return shape


def ring(rng: np.random.Generator) -> Shape:
    b, width, hole_x = draw(rng, 0.7, 1.0), draw(rng, 0.14, 0.3), draw(rng, -0.08, 0.08)
    return lambda u, v: np.maximum(_ellipse(u, v, 1.0, b), -_ellipse(u, v, 1.0 - 1.4 * width, b - 1.4 * width, hole_x))


def crescent(rng: np.random.Generator) -> Shape:
    shift, inner = draw(rng, 0.35, 0.6), draw(rng, 0.6, 0.85)
    return lambda u, v: np.maximum(np.hypot(u, v) - 0.95, inner - np.hypot(u - shift, v))


def creature(rng: np.random.Generator) -> Shape:
    """Body, head, legs, tail."""
    height, head = draw(rng, 0.28, 0.45), draw(rng, 0.2, 0.32)
    neck = (0.62, -draw(rng, 0.35, 0.75))
    legs = [(draw(rng, -0.5, 0.45), draw(rng, -0.1, 0.1), draw(rng, 0.06, 0.11)) for _ in range(4)]
    tail = (draw(rng, -1.1, -0.8), draw(rng, -0.7, 0.2))

    def shape(u: Array, v: Array) -> Array:
        parts = [_ellipse(u, v, 0.65, height), np.hypot(u - neck[0], v - neck[1]) - head]
        parts.append(_capsule(u, v, (0.4, -0.05), neck, 0.14))
        parts.append(_capsule(u, v, (-0.5, -0.05), tail, 0.055))
        parts += [_capsule(u, v, (x, 0.15), (x + lean, 0.85), thick) for x, lean, thick in legs]
        return _union(*parts)

    return shape


def mug(rng: np.random.Generator) -> Shape:
    """A body and an open handle: a hole that belongs to the background."""
    a, b, grip = draw(rng, 0.45, 0.6), draw(rng, 0.55, 0.8), draw(rng, 0.28, 0.42)
    return lambda u, v: _union(_box(u, v, a, b, 0.12, -0.2), np.abs(np.hypot(u - a + 0.2, v) - grip) - 0.08)


def flower(rng: np.random.Generator) -> Shape:
    petals, far, size = int(rng.integers(4, 8)), draw(rng, 0.35, 0.5), draw(rng, 0.2, 0.3)
    turn, bend = draw(rng, 0, math.tau), draw(rng, -0.3, 0.3)

    def shape(u: Array, v: Array) -> Array:
        parts = [np.hypot(u, v + 0.3) - 0.25, _capsule(u, v, (0, -0.2), (bend, 1.0), 0.05)]
        for k in range(petals):
            angle = turn + math.tau * k / petals
            parts.append(np.hypot(u - far * math.cos(angle), v + 0.3 - far * math.sin(angle)) - size)
        return _union(*parts)

    return shape


def frame(rng: np.random.Generator) -> Shape:
    """Two wheels and bars: thin parts and large holes."""
    gap, size, bar = draw(rng, 0.5, 0.6), draw(rng, 0.34, 0.42), draw(rng, 0.05, 0.09)
    seat = draw(rng, -0.2, 0.2)

    def shape(u: Array, v: Array) -> Array:
        left, right, top = (-gap, 0.35), (gap, 0.35), (seat, -0.45)
        wheels = [np.abs(np.hypot(u - x, v - y) - size) - bar for x, y in (left, right)]
        bars = [_capsule(u, v, p, q, bar) for p, q in ((left, top), (top, right), (left, (0.05, 0.3)))]
        return _union(*wheels, *bars, _capsule(u, v, (top[0] - 0.2, top[1]), (top[0] + 0.2, top[1]), bar * 1.4))

    return shape


def crossing(rng: np.random.Generator) -> Shape:
    """Boxes that overlap: letters, furniture, buildings."""
    boxes = [
        (draw(rng, 0.15, 0.85), draw(rng, 0.15, 0.85), draw(rng, -0.2, 0.2), draw(rng, -0.3, 0.3))
        for _ in range(int(rng.integers(2, 4)))
    ]
    return lambda u, v: _union(*(_box(u, v, a, b, 0.04, x, y) for a, b, x, y in boxes))


_FAMILIES = (ellipse, slab, polygon, blob, blob, star, ring, crescent, creature, mug, flower, frame, crossing)
