"""What a photograph becomes, and a mask: every command reads both here, and nowhere else.

A file is decoded at its full size, turned as its EXIF orientation says, converted to 8-bit RGB (a mask to levels), and
resized to H x W. JPEG's draft mode is not used: it would make the result depend on the size asked for.
"""

import io
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from genotypes.errors import UserError

__all__ = [
    "READING_VERSION",
    "DataError",
    "Photograph",
    "Picture",
    "header_size",
    "picture_extensions",
    "read_ahead",
    "read_image",
    "read_map",
    "read_mask",
    "read_picture",
    "resize",
    "write_png",
]

T = TypeVar("T")
R = TypeVar("R")
_PNG_LEVEL = 1
READING_VERSION = 3  # raise when a file becomes other bytes than before: it is part of the cache's key

Photograph: TypeAlias = "str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | np.ndarray | Tensor"

_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HALF = 127  # a mask's object is above
_WHITES = (255, 1023, 4095, 16383, 65535)  # of 8 to 16 bits: cameras of 10, 12 and 14 bits write them into 16
_BAD_EXIF = (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, IndexError, AttributeError, struct.error)
# Between a grey's colours, of a black, and of an object's pixels: at quality 20 a coloured mask's edge takes a sixth.
_JPEG_NOISE = (32, 64, 0.25)
_HEIF = (".heic", ".heif")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")  # ISO/IEC 23008-12


class DataError(UserError):
    """A folder, file or pair of files that cannot be used: the message names it and says what was expected."""


class Picture(NamedTuple):
    """pixels uint8[H, W, 3], RGB, upright; alpha uint8[H, W], or None; profile: the ICC profile of its RGB, or None."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    profile: bytes | None = None


def read_ahead(read: Callable[[T], R], items: Iterable[T], depth: int = 2) -> Iterator[R]:
    """`read` of each item in turn, `depth` of them begun early, in a thread: nobody waits for the disk."""
    with ThreadPoolExecutor(1) as thread:
        begun: deque[Future[R]] = deque()
        try:
            for item in items:
                begun.append(thread.submit(read, item))
                if len(begun) >= depth:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


def read_image(source: Photograph, size: int | tuple[int, int] | None = None) -> np.ndarray:
    """A photograph as uint8[H, W, 3], RGB, upright.

    Args:
        source: a file's path, its bytes, or the file opened; a Pillow image; an array uint8[H, W], uint8[H, W, 3 or 4]
            or float of the same shapes in 0..1; a tensor uint8 or float of [3, H, W] or [1, H, W].
        size: (H, W) to resize to, or the side of a square; None keeps the size.

    Raises:
        DataError: a file that cannot be read, an array or tensor of another shape or range.
    """
    if isinstance(source, np.ndarray | Tensor):
        pixels = _from_values(source)
    else:
        pixels = _colours(_open_picture(_content(source)))
    return pixels if size is None else resize(pixels, size)


def _content(source: str | os.PathLike[str] | bytes | IO[bytes] | Image.Image) -> "str | bytes | Image.Image":
    """A path, bytes or a picture, whatever a caller has of it; DataError for anything else."""
    given: object = source
    if isinstance(given, bytearray | memoryview):
        given = bytes(given)
    elif callable(read := getattr(given, "read", None)):
        try:
            given = read()
        except (OSError, ValueError) as error:  # opened for text or for writing, or closed
            raise DataError(f"cannot read {given!r}: {error}; expected a file opened for bytes (mode rb)") from None
        if not isinstance(given, bytes):
            raise DataError(f"expected a photograph's file opened for bytes (mode rb), it gives {type(given).__name__}")
    elif isinstance(given, os.PathLike):
        given = os.fsdecode(given)
    if isinstance(given, Image.Image) and 0 in given.size:
        raise DataError(f"expected a photograph, not a picture of {given.width} x {given.height} pixels")
    if isinstance(given, str | bytes | Image.Image):
        return given
    raise DataError(
        f"expected a photograph: a file's path, its bytes or the open file, a Pillow image, an array or a tensor, not "
        f"{type(source).__name__}"
    )


def read_picture(source: str | os.PathLike[str] | bytes) -> Picture:
    """A photograph with what it has beside its colours, for pictures that are made of it. DataError as `read_image`."""
    file = _open_picture(source)
    alpha = np.asarray(file.convert("RGBA").getchannel("A")) if _has_alpha(file) else None
    profile = file.info.get("icc_profile") or b""
    of_rgb = profile[16:20] == b"RGB "  # there a profile says what colours it is of
    return Picture(_colours(file), alpha, profile if of_rgb else None)


def _has_alpha(file: Image.Image) -> bool:
    return file.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in file.info


def _colours(file: Image.Image) -> np.ndarray:
    """uint8[H, W, 3]."""
    file = _levels_of_16_bits(file)
    if file.mode == "P" and "transparency" in file.info:  # Pillow warns where these become RGB at once
        file = file.convert("RGBA")
    return np.asarray(file if file.mode == "RGB" else file.convert("RGB"))


def read_mask(source: str | os.PathLike[str] | Image.Image) -> np.ndarray:
    """A mask as uint8[H, W], 0 to 255, upright: the object is where a value is > 127. See `_mask_levels`.

    Resized like a photograph (`resize`: bilinear, antialiased) it keeps its graded edge: a threshold at 127 then is the
    nearest outline at that size, and thin parts do not break up as they do with nearest neighbours.

    Raises:
        DataError: a file that cannot be read, or a mask that can be read in two ways.
    """
    name = "the mask" if isinstance(source, Image.Image) else str(source)
    return _mask_levels(_open_picture(source), name)


def read_map(path: str | os.PathLike[str]) -> np.ndarray:
    """A network's map as uint8[H, W], upright: grey levels as they are, whatever their number; DataError as above."""
    return np.asarray(Image.fromarray(read_image(path)).convert("L"))


def resize(
    pixels: np.ndarray, size: int | tuple[int, int], *, antialias: bool = True, nearest: bool = False
) -> np.ndarray:
    """uint8[h, w] or uint8[h, w, 3] at (H, W), or at a square of that side; bilinear, values rounded.

    antialias: average what shrinks into a pixel. Without, as OpenCV and CSNet's own scripts do, each pixel is
    interpolated between four points. nearest: each takes the value of one.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if pixels.shape[:2] == (height, width):
        return pixels
    if antialias or nearest:
        how = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(pixels).resize((width, height), how))
    # Pillow's own transform reads four points as well, but cuts the fraction off: half a level darker on average.
    planes = torch.from_numpy(np.atleast_3d(pixels).astype(np.float32)).permute(2, 0, 1)[None]
    four = F.interpolate(planes, (height, width), mode="bilinear", align_corners=False)
    out = four[0].permute(1, 2, 0).add_(0.5).floor_().to(torch.uint8).numpy()
    return out if pixels.ndim == 3 else out[..., 0]


def header_size(source: Path | bytes) -> tuple[int, int]:
    """(height, width) of an upright picture, from its header alone; DataError where that cannot be read."""
    with _opened(source) as file:
        # A PNG may hold its EXIF behind the pixels; getexif would decode them all to look.
        turned = "exif" in file.info and _orientation(file) >= 5
        return file.size if turned else file.size[::-1]


@lru_cache
def picture_extensions() -> frozenset[str]:
    """File name endings (lower case, with the dot) of pictures; HEIC among them, whether it can be read here or not."""
    Image.init()
    return frozenset(ext for ext, kind in Image.registered_extensions().items() if kind in Image.OPEN).union(_HEIF)


@lru_cache
def _register_heif() -> bool:
    """HEIC, as phones write it, is read where pillow-heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _open_picture(source: str | os.PathLike[str] | bytes | Image.Image) -> Image.Image:
    """The picture, decoded and upright."""
    with _opened(source) as file:
        file.load()
        file = _upright(file)
        return file.convert("LA") if file.mode == "La" else file  # of which Pillow makes no other mode


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes | Image.Image) -> Iterator[Image.Image]:
    """The picture, not decoded yet; what cannot be read of it, here or inside, is a DataError."""
    _register_heif()
    try:
        given = io.BytesIO(source) if isinstance(source, bytes) else source
        with nullcontext(given) if isinstance(given, Image.Image) else Image.open(given) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"no such file: {source!s}") from None
    except MemoryError:
        raise
    except Exception as error:  # of the format's reader, of any kind: AVIF's raises RuntimeError
        raise DataError(_cannot_read(source, error)) from error


def _cannot_read(source: str | os.PathLike[str] | bytes | Image.Image, error: BaseException) -> str:
    if isinstance(source, Image.Image):  # opened by the caller, and not decoded yet
        return f"cannot read the given picture: {error}"
    heif = _is_heif(source) and not _register_heif()
    source = "the given bytes" if isinstance(source, bytes) else source
    if heif:
        return f"cannot read {source}: HEIC pictures need pillow-heif (pip install 'sod-nas[heic]')"
    reason = "none of the formats that Pillow knows" if isinstance(error, UnidentifiedImageError) else error
    return f"cannot read {source} as an image: {reason}"


def _is_heif(source: str | os.PathLike[str] | bytes) -> bool:
    """By its first bytes: through pipes and browsers pictures come without an ending, or under another's."""
    if not isinstance(source, bytes):
        try:
            with open(source, "rb") as file:
                source = file.read(12)
        except (OSError, ValueError):  # ValueError: a name that no file has, with a null byte in it
            return False
    return source[4:8] == b"ftyp" and source[8:12] in _HEIF_BRANDS


def _upright(file: Image.Image) -> Image.Image:
    if file.mode == "F" and not np.isfinite(np.asarray(file)).all():  # one of them would make all others black
        raise DataError("the picture holds values that are not finite (nan or inf)")
    turn = _TURNS.get(_orientation(file))
    if turn is None:
        return file
    out = file.transpose(turn)
    out.info, out.format = file.info, file.format  # what reading a mask asks for
    return out


def _orientation(file: Image.Image) -> int:
    """The EXIF orientation, 1 (as stored) where there is none or the block is damaged."""
    try:
        return int(file.getexif().get(_ORIENTATION, 1))
    except _BAD_EXIF:
        return 1


def _levels_of_16_bits(file: Image.Image) -> Image.Image:
    """Integer and float files as 8 bits; Pillow's own conversion would clip them to white."""
    if not file.mode.startswith(("I", "F")):
        return file
    values = np.asarray(file, dtype=np.float64)
    return Image.fromarray((values * (255 / _top(values, file.mode, _WHITES))).round().clip(0, 255).astype(np.uint8))


def _top(values: np.ndarray, mode: str, whites: Sequence[int] = (255, 65535)) -> float:
    """What white is in a file of integers or floats: the least of these that no value exceeds."""
    highest = float(values.max(initial=0))
    if mode.startswith("F") and highest <= 1:
        return 1
    return next((white for white in whites if highest <= white), whites[-1])


def _from_values(source: np.ndarray | Tensor) -> np.ndarray:
    """uint8[H, W, 3] of an array [H, W (, 1, 3 or 4)] or a tensor [1 or 3, H, W]."""
    kind, shape = ("a tensor", "[3, H, W]") if isinstance(source, Tensor) else ("an array", "[H, W, 3]")
    if isinstance(source, Tensor):  # NumPy has no bfloat16
        values = (source.float() if source.is_floating_point() else source).detach().cpu().numpy()
        if values.ndim == 3 and values.shape[0] in (1, 3):
            values = values.transpose(1, 2, 0)
    else:
        # A mask hides what is not finite; a matrix has no third axis, and NumPy itself crashes over it.
        values = np.asarray(source)
    grey = values.ndim == 2 and isinstance(source, np.ndarray)
    planes = 1 if grey else values.shape[-1] if values.ndim == 3 else 0
    if planes not in (1, 3, 4) or 0 in values.shape:
        raise DataError(f"expected a photograph as {kind} {shape}, not {list(source.shape)}")
    if values.dtype != np.uint8:
        if not np.issubdtype(values.dtype, np.floating) or not (values.min() >= 0 and values.max() <= 1):
            numbers = np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)
            span = f" from {values.min():g} to {values.max():g}" if numbers else ""
            raise DataError(f"expected {kind} of uint8, or of floats in 0..1; got {source.dtype}{span}")
        values = np.floor(values.astype(np.float64) * 255 + 0.5).astype(np.uint8)
    values = np.atleast_3d(values)
    return np.ascontiguousarray(values[..., :3] if values.shape[2] >= 3 else values.repeat(3, axis=2))


def _mask_levels(picture: Image.Image, name: str) -> np.ndarray:
    """A mask's levels uint8[H, W], the object above 127, for what the file holds.

    Grey levels are taken as they are; labels (0 and one other value below half, as 0/1 or 0/2) are stretched to
    0/255; 16 bits are scaled; a coloured palette or two colours, one of them black: the object is what is not black;
    an alpha channel is the mask where the colours are none.

    Raises:
        DataError: what can be read in two ways; the message names both.
    """
    lossy = picture.format == "JPEG"  # where 1 and 2 are noise, not labels
    if _has_alpha(picture):
        return _with_alpha(picture.convert("RGBA"), name)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, dtype=np.float64)
        return _stretched(values * (255 / _top(values, picture.mode)), name, lossy=False)
    if picture.mode == "P":
        return _with_palette(picture, name)
    if picture.mode in ("1", "L"):
        return _stretched(np.asarray(picture.convert("L")), name, lossy)
    return _with_colours(picture.convert("RGB"), name, lossy)


def _stretched(levels: np.ndarray, name: str, lossy: bool) -> np.ndarray:
    """Levels as they are where any is above half (or all are 0), labels as 0 and 255."""
    top = float(levels.max(initial=0))
    if top > _HALF or top == 0 or lossy:
        rounded = levels.round().astype(np.uint8)
        if not lossy and top == 255 and _is_void(rounded):
            label = np.unique(rounded)[1]
            raise DataError(
                f"{name} holds 0, {label} and 255 alone, which can be read in two ways: as levels (the object is 255) "
                f"or as labels (the object is {label}, and 255 is left out)"
            )
        return rounded
    values = np.unique(levels)
    if len(values) > 2 or (len(values) == 2 and values[0] > 0) or (len(values) == 1 and top != 1):
        told = ", ".join(f"{value:g}" for value in values[:6]) + (", ..." if len(values) > 6 else "")
        raise DataError(
            f"{name} holds {told} (white is 255), which can be read in two ways: as levels (nothing is above 127: no "
            "object) or as labels (which of them are the object?); write the object as 255"
        )
    return np.where(levels > 0, 255, 0).astype(np.uint8)


def _is_void(levels: np.ndarray) -> bool:
    """Whether 0, one label and 255 are all there is, the label being more than a few stray pixels."""
    counts = np.array(Image.fromarray(levels).histogram())  # of NumPy's own, each byte would be made 64 bits
    three = bool(counts[0]) and np.count_nonzero(counts) == 3
    return three and counts[1:32].sum() > 0.01 * levels.size


def _with_palette(picture: Image.Image, name: str) -> np.ndarray:
    """A palette of greys holds levels; one of colours holds labels, whose background is index 0, black."""
    index, colours = np.asarray(picture), np.asarray(picture.convert("RGB"))
    grey = colours.min(axis=2) == colours.max(axis=2)
    if grey.all() and (colours.any() or not index.any()):
        return _stretched(colours[..., 0], name, lossy=False)
    palette = np.asarray(picture.getpalette("RGB")).reshape(-1, 3)
    if palette[0].any():
        return _with_colours(picture.convert("RGB"), name, lossy=False)
    if (index == 255).any() and ((index > 0) & (index < 255)).any():
        raise DataError(
            f"{name} is a palette of labels with 255 among them, which can be read in two ways: 255 belongs to the "
            "object, or is a border to be left out (as in PASCAL VOC); write the object as 255 and the rest as 0"
        )
    return np.where(index > 0, 255, 0).astype(np.uint8)


def _with_colours(picture: Image.Image, name: str, lossy: bool) -> np.ndarray:
    colours, luminance = np.asarray(picture), np.asarray(picture.convert("L"))
    most, bright = colours.max(axis=2), luminance > _HALF
    # A white of WebP's is a level from grey; where nothing is above half, such levels are labels.
    tint, black, stray = _JPEG_NOISE if lossy else (2 * int(most.max() > _HALF), 0, 0.0)
    if (most - colours.min(axis=2) <= tint).all():
        return _stretched(luminance, name, lossy)
    coloured = most > black
    if (bright != coloured).sum() <= stray * coloured.sum():
        return luminance if lossy else np.where(coloured, 255, 0).astype(np.uint8)
    kinds = picture.getcolors(maxcolors=2)
    if kinds is not None and not coloured.all():  # black and one colour
        return np.where(coloured, 255, 0).astype(np.uint8)
    raise DataError(
        f"{name} is a picture in colours, which can be read in two ways: by brightness ({bright.mean():.1%} of it "
        f"would be the object) or by whatever is not black ({coloured.mean():.1%}); write it as white on black, or, "
        "where it is the photograph, swap images and masks"
    )


def _with_alpha(picture: Image.Image, name: str) -> np.ndarray:
    alpha, colours = np.asarray(picture.getchannel("A")), picture.convert("RGB")
    if alpha.min() == alpha.max():
        return _with_colours(colours, name, lossy=False)
    mask = _stretched(alpha, f"{name} (its alpha channel)", lossy=False)
    grey = np.asarray(colours.convert("L"))
    # Black and white colours are a mask themselves; a photograph's, or a flat colour, are not.
    extreme = ((grey <= 8) | (grey >= 247)).mean() > 0.95 and grey.min() <= 8 and grey.max() >= 247
    if extreme and ((grey > _HALF) != (mask > _HALF)).mean() > 0.01:
        raise DataError(
            f"{name} holds one mask in its colours ({(grey > _HALF).mean():.1%} of it is the object) and another in "
            f"its alpha channel ({(mask > _HALF).mean():.1%}): remove the one that is not meant"
        )
    return mask


def write_png(
    pixels: np.ndarray,
    file: str | os.PathLike[str] | IO[bytes],
    profile: bytes | None = None,
    note: tuple[str, str] | None = None,
) -> None:
    """A map uint8[H, W], or a picture uint8[H, W, 3 or 4] of an ICC profile (none: sRGB), as a PNG file.

    note: a keyword and a text that the file carries.

    The lowest level of compression: of a map of ECSSD 1.1 instead of 2.9 ms for a fifth more bytes, of a cut-out 11
    instead of 38 ms for a twelfth (benchmarks/prediction.py --png).
    """
    texts = PngInfo()
    if note:
        texts.add_text(*note)
    Image.fromarray(pixels).save(file, format="PNG", compress_level=_PNG_LEVEL, icc_profile=profile, pnginfo=texts)
