"""Colours and line styles: an operation's is in its record, so that it looks the same in every picture.

Strides run from light (fine) to dark (coarse).
"""

import hashlib
import math

from genotypes.vocabulary import OPERATIONS, Stroke

__all__ = ["OPEN", "Stroke", "darker", "mixed", "operation_label", "operation_stroke", "stride_colour", "text_colour"]


# For operations whose record names no line: hues that none of ours has (Tol's "muted"), times three dashes.
_SPARE = ("#882255", "#332288", "#999933", "#aa4499", "#117733", "#661100")
_DASHES = ((), (5.0, 1.8), (5.0, 1.6, 1.0, 1.6))

OPEN = Stroke(colour="#4d4d4d", dashes=(3.0, 1.5), width=2.2)

# ColorBrewer's YlGnBu, strides 1, 2, 4, ... 128.
_STRIDES = ("#ffffe0", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84")


def operation_stroke(name: str) -> Stroke:
    """The line of an operation: its record's, or else one from the hash of its name."""
    stroke = OPERATIONS[name].stroke
    if stroke is not None:
        return stroke
    digest = hashlib.sha256(name.encode()).digest()
    dashes = _DASHES[digest[1] % 3]
    return Stroke(colour=_SPARE[digest[0] % len(_SPARE)], dashes=dashes, double=name.endswith("_rp2"))


def operation_label(name: str) -> str:
    """A short form of an operation's name, for the label of an edge: dil_conv_3x3_rp2 -> "2× dil 3×3"."""
    if OPERATIONS[name].label:
        return OPERATIONS[name].label
    words = name.split("_")
    if words[0] == "conv2d":
        words = [word for word in words[1:] if word != "bias"]
    elif "conv" in words[1:]:
        words.remove("conv")
    if words[-1] == "rp2":
        words = ["2×", *words[:-1]]
    text = " ".join(_times(word) for word in words)
    return text if len(text) <= 18 else text[:17] + "…"


def stride_colour(stride: int) -> str:
    """The fill of a feature of that stride."""
    return _STRIDES[min(len(_STRIDES) - 1, round(math.log2(max(1, stride))))]


def text_colour(fill: str) -> str:
    """Black or white, whichever reads better on `fill` (relative luminance of WCAG 2)."""
    channels = (int(fill[index : index + 2], 16) / 255 for index in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.21 else "#ffffff"


def mixed(colour: str, other: str, share: float) -> str:
    """`colour` with a share of `other` in it."""
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def darker(colour: str, share: float = 0.35) -> str:
    """`colour` mixed with black, for small text on white."""
    return mixed(colour, "#000000", share)


def _times(word: str) -> str:
    left, x, right = word.partition("x")
    return f"{left}×{right}" if x and left.isdigit() and right.isdigit() else word
