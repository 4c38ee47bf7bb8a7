"""Colours and line styles: a function of the name alone, so that an operation looks the same in every picture.

Hues are Okabe and Ito's (jfly.uni-koeln.de/color), which colour-blind readers tell apart; a double line says
"the same twice" (`_rp2`), dashes say "depthwise" or "without bias". Strides run from light (fine) to dark (coarse).
"""

import hashlib
import math
from dataclasses import dataclass

__all__ = ["OPEN", "Stroke", "darker", "mixed", "operation_label", "operation_stroke", "stride_colour", "text_colour"]


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """How a line is drawn. colour: #rrggbb; dashes: points on, off, ... (empty: solid); double: two parallel lines."""

    colour: str
    dashes: tuple[float, ...] = ()
    double: bool = False
    width: float = 1.5
    alpha: float = 1.0


_DOTTED = (0.8, 2.2)
_DASHED = (5.0, 1.8)
_DASH_DOT = (5.0, 1.6, 1.0, 1.6)
_LONG = (13.0, 1.2)

_BLUE, _VERMILION, _GREEN = "#0072b2", "#d55e00", "#009e73"
_ORANGE, _PURPLE, _SKY = "#e69f00", "#cc79a7", "#56b4e9"

OPEN = Stroke(colour="#4d4d4d", dashes=(3.0, 1.5), width=2.2)

_STROKES = {
    "none": Stroke(colour="#9a9a9a", dashes=_DOTTED, width=1.3),
    "skip_connect": Stroke(colour="#000000", width=1.0),
    "sep_conv_3x3": Stroke(colour=_BLUE),
    "sep_conv_3x3_rp2": Stroke(colour=_BLUE, double=True),
    "dil_conv_3x3": Stroke(colour=_VERMILION),
    "dil_conv_3x3_rp2": Stroke(colour=_VERMILION, double=True),
    "dil_conv_3x3_dil4": Stroke(colour=_ORANGE),
    "conv_3x3": Stroke(colour=_GREEN),
    "conv_3x3_rp2": Stroke(colour=_GREEN, double=True),
    "spatial_attention": Stroke(colour=_PURPLE),
    "channel_attention": Stroke(colour=_SKY),
    "dw_sep_conv_3x3": Stroke(colour=_BLUE, dashes=_DASHED),
    "dw_sep_conv_5x5": Stroke(colour=_BLUE, dashes=_DASH_DOT),
    "dw_dil_conv_3x3": Stroke(colour=_VERMILION, dashes=_DASHED),
    "dw_dil_conv_5x5": Stroke(colour=_VERMILION, dashes=_DASH_DOT),
    "depthwise_3x3": Stroke(colour=_GREEN, dashes=_DASHED),
}
# Bare convolutions are mostly structure around a search: brown for 1x1, slate for 3x3, paler with dilation.
_SLATE = {1: "#36454f", 2: "#4f6475", 4: "#6b8296", 8: "#87a0b5", 16: "#a3bbce"}
for _bias in ("", "_bias"):
    _dashes = () if _bias else _LONG
    _STROKES[f"conv2d_1x1{_bias}"] = Stroke(colour="#8c6d46", dashes=_dashes)
    for _dilation, _colour in _SLATE.items():
        _suffix = "" if _dilation == 1 else f"_d{_dilation}"
        _STROKES[f"conv2d_3x3{_suffix}{_bias}"] = Stroke(colour=_colour, dashes=_dashes)

# For operations of users: hues that none of ours has (Tol's "muted"), times three dashes.
_SPARE = ("#882255", "#332288", "#999933", "#aa4499", "#117733", "#661100")

_LABELS = {
    "skip_connect": "skip",
    "spatial_attention": "spatial att.",
    "channel_attention": "channel att.",
    "dil_conv_3x3_dil4": "dil 3×3 d4",
}

# ColorBrewer's YlGnBu, strides 1, 2, 4, ... 128.
_STRIDES = ("#ffffe0", "#edf8b1", "#c7e9b4", "#7fcdbb", "#41b6c4", "#1d91c0", "#225ea8", "#0c2c84")


def operation_stroke(name: str) -> Stroke:
    """The line of an operation; a user's own gets one from the hash of its name."""
    if name in _STROKES:
        return _STROKES[name]
    digest = hashlib.sha256(name.encode()).digest()
    dashes = ((), _DASHED, _DASH_DOT)[digest[1] % 3]
    return Stroke(colour=_SPARE[digest[0] % len(_SPARE)], dashes=dashes, double=name.endswith("_rp2"))


def operation_label(name: str) -> str:
    """A short form of an operation's name, for the label of an edge: dil_conv_3x3_rp2 -> "2× dil 3×3"."""
    if name in _LABELS:
        return _LABELS[name]
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
