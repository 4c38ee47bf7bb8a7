"""Reading one photograph or mask from disk, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from nas.task.errors import DataError
from nas.task.folders import Pair

__all__ = ["read_image", "read_mask", "read_pair"]


def read_image(path: Path, size: int | None = None, *, antialias: bool = True) -> np.ndarray:
    """uint8[H, W, 3], RGB whatever the file holds; squeezed to `size` x `size` if given (bilinear).

    antialias: average what shrinks into a pixel; without, as OpenCV and CSNet's own scripts do, four points are read.
    """
    return np.asarray(_open(path, "RGB", size, antialias)[0])


def read_mask(path: Path, size: int | None = None) -> np.ndarray:
    """uint8[H, W], 0 to 255, whatever the file holds (masks of 0 and 1 are stretched).

    With `size` it is resized like the image (bilinear, antialiased) and keeps its graded edge: a threshold at 127
    then is the nearest outline at that size, and thin parts do not break up as they do with nearest neighbours.
    """
    return np.asarray(_open(path, "L", size)[0])


def read_pair(pair: Pair, size: int, *, antialias: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """uint8[S, S, 3] and uint8[S, S]; antialias: see `read_image`, for the image.

    Raises:
        DataError: a file that cannot be read, or image and mask of different sizes.
    """
    image, image_size = _open(pair.image, "RGB", size, antialias)
    mask, mask_size = _open(pair.mask, "L", size)
    check_sizes(pair, image_size, mask_size)
    return np.asarray(image), np.asarray(mask)


def check_sizes(pair: Pair, image_size: tuple[int, int], mask_size: tuple[int, int]) -> None:
    """DataError if the two (width, height) differ."""
    if image_size != mask_size:
        raise DataError(
            f"image and mask differ in size: {pair.image} is {image_size[0]} x {image_size[1]}, "
            f"{pair.mask} is {mask_size[0]} x {mask_size[1]} (width x height)"
        )


def _open(path: Path, mode: str, size: int | None, antialias: bool = True) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, and the (width, height) it has on disk."""
    try:
        with Image.open(path) as file:
            on_disk = file.size
            if size is not None and mode == "RGB" and antialias:
                file.draft("RGB", (2 * size, 2 * size))  # large JPEGs decode at half size or less: much faster
            return _convert(file, mode, size, antialias), on_disk
    except FileNotFoundError:
        raise DataError(f"no such file: {path}") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read {path} as an image: {error}") from error


def _convert(file: Image.Image, mode: str, size: int | None, antialias: bool) -> Image.Image:
    if file.mode.startswith(("I", "F")):  # 16-bit files: Pillow's own conversion would clip them to white
        values = np.asarray(file, dtype=np.float64)
        top = 65535 if values.max() > 255 else 255
        file = Image.fromarray((values * (255 / top)).round().clip(0, 255).astype(np.uint8))
    elif file.mode == "P" or "transparency" in file.info:
        file = file.convert("RGBA")  # palettes hold colours, not levels
    picture = file.convert(mode)
    if mode == "L" and picture.getextrema()[1] == 1:  # a mask of 0 and 1: at > 127 it would silently be empty
        picture = picture.point(lambda value: value * 255)
    if size is None:
        return picture
    if antialias:
        return picture.resize((size, size), Image.Resampling.BILINEAR)
    # Pillow's resize always averages; a geometric transform reads the four nearest points.
    step = (picture.width / size, 0, 0, 0, picture.height / size, 0)
    return picture.transform((size, size), Image.Transform.AFFINE, step, Image.Resampling.BILINEAR)
