"""Decode a data set once, keep it as bytes: in memory, or memory-mapped from disk where it is large."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from nas.task.folders import Pair, few, find_pairs, is_synthetic, parse_data, refuse, size_problem
from nas.task.photos import PhotoSet
from nas.task.reading import READING_VERSION, DataError, read_image, read_mask, resize
from nas.task.synthetic import SYNTHETIC_VERSION, synthetic_set

__all__ = ["open_photos", "spread", "tell_blank"]

T = TypeVar("T")
Blank: TypeAlias = dict[str, list[str]]  # "black" and "white": names of masks that are nothing else
Fill: TypeAlias = Callable[[np.ndarray, np.ndarray], Blank]

_log = logging.getLogger(__name__)

_DAY = 86400
_SYNTHETIC_COUNT = 1200
_IN_MEMORY = 4 * 2**30  # bytes; larger sets are memory-mapped where there is a cache to map


def open_photos(
    spec: str,
    *,
    size: int,
    cache_dir: Path | None,
    limit: int | None = None,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
    in_memory: int = _IN_MEMORY,
) -> PhotoSet:
    """Open a data set at one size, decoding it unless an earlier run has done so.

    Args:
        spec: `NAME=DIR`, `DIR`, a `.lst` file, `synthetic` (1,200 images) or `synthetic:COUNT`.
        size: side in pixels; images are squeezed to a square.
        cache_dir: where decoded sets are kept (made if missing); None keeps nothing.
        limit: use only so many images, spread evenly over the sorted names.
        seed: which synthetic pictures; folders do not use it.
        workers: threads that decode.
        progress: show a bar while decoding.
        in_memory: sets of more bytes than this stay on disk, memory-mapped, if there is a cache.

    The cache's key covers paths, file sizes, times of change, size and how files are read (`READING_VERSION`): a
    changed folder is decoded again. A decode that is killed leaves nothing that a later run would use. Masks without
    an object, or without a background, are counted and logged as a warning.

    Raises:
        DataError: see `find_pairs`; also unreadable files, masks that can be read in two ways, images and masks of
            different sizes: all of them in one message.
    """
    if size < 8:
        raise DataError(f"the size must be at least 8 pixels, got {size}")
    if limit is not None and limit < 1:
        raise DataError(f"the limit must be at least 1 image, got {limit}")
    name, source = parse_data(spec)
    if is_synthetic(source):
        return _open_synthetic(name, source, size, cache_dir, limit, seed, in_memory)
    pairs = spread(find_pairs(source), limit)

    def decode(images: np.ndarray, masks: np.ndarray) -> Blank:
        return _decode(name, pairs, images, masks, workers, progress)

    key = _fingerprint(pairs, size)
    images, masks, blank = _cached(cache_dir, f"{name}-{size}-{key}", len(pairs), size, decode, in_memory)
    tell_blank(name, len(pairs), **blank)
    return PhotoSet(name=name, images=images, masks=masks, names=tuple(pair.name for pair in pairs))


def tell_blank(name: str, count: int, *, black: Sequence[str], white: Sequence[str]) -> None:
    """Log how many of a set's masks hold no object, and how many no background."""
    for kind, names in (("all black (no object)", black), ("all white (no background)", white)):
        if names:
            _log.warning("%s: %d of %d masks are %s: %s", name, len(names), count, kind, few(names))


def spread(items: list[T], limit: int | None) -> list[T]:
    """`limit` items evenly spaced over the list (all if None): a sample without chance."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def _open_synthetic(
    name: str, source: str, size: int, cache_dir: Path | None, limit: int | None, seed: int, in_memory: int
) -> PhotoSet:
    _, _, count = source.partition(":")
    try:
        n = int(count) if count else _SYNTHETIC_COUNT
    except ValueError:
        n = 0
    if n < 1:
        raise DataError(f"expected synthetic or synthetic:COUNT with a count of at least 1, got {source!r}")
    n = min(n, limit or n)

    def make(images: np.ndarray, masks: np.ndarray) -> Blank:
        made = synthetic_set(n, size, seed)
        images[:], masks[:] = made.images.numpy(), made.masks.numpy()
        return {"black": [], "white": []}

    key = f"synthetic-{size}-v{SYNTHETIC_VERSION}-seed{seed}-n{n}"
    images, masks, _ = _cached(cache_dir, key, n, size, make, in_memory)
    return PhotoSet(name=name, images=images, masks=masks, names=tuple(f"{i:06d}" for i in range(n)))


def _fingerprint(pairs: Sequence[Pair], size: int) -> str:
    entries: list[object] = [READING_VERSION, size]
    for pair in pairs:
        for path in (pair.image, pair.mask):
            stat = path.stat()
            entries.append((os.path.abspath(path), stat.st_size, stat.st_mtime_ns))
    return hashlib.blake2b(json.dumps(entries).encode(), digest_size=12).hexdigest()


def _cached(
    cache_dir: Path | None,
    key: str,
    n: int,
    size: int,
    fill: Fill,
    in_memory: int,
) -> tuple[torch.Tensor, torch.Tensor, Blank]:
    """images uint8[n, 3, size, size], masks uint8[n, 1, size, size] and the names of blank masks under this key.

    `fill` makes what is missing: it writes into the two arrays and returns the names.
    """
    shapes = {"images": (n, 3, size, size), "masks": (n, 1, size, size)}
    if cache_dir is None:
        arrays = {part: np.empty(shape, np.uint8) for part, shape in shapes.items()}
        blank = fill(arrays["images"], arrays["masks"])
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["masks"]), blank
    folder = Path(cache_dir) / key
    if not folder.is_dir():
        _write(folder, shapes, fill)
    # Copy on write: torch wants writable memory, and no one may change the file by accident.
    mode: Literal["c"] | None = "c" if sum(np.prod(shape) for shape in shapes.values()) > in_memory else None
    loaded = {}
    for part, shape in shapes.items():
        file = folder / f"{part}.npy"
        try:
            loaded[part] = np.load(file, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"cannot read the cache {file}: {error}; delete {folder} and start again") from error
        if loaded[part].shape != shape or loaded[part].dtype != np.uint8:
            raise DataError(f"the cache {file} holds {loaded[part].shape}, expected {shape}; delete {folder}")
    try:
        blank = json.loads((folder / "blank.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the cache {folder}: {error}; delete it and start again") from error
    return torch.from_numpy(loaded["images"]), torch.from_numpy(loaded["masks"]), blank


def _write(folder: Path, shapes: Mapping[str, tuple[int, ...]], fill: Fill) -> None:
    """Fill the arrays in a folder beside the final one, then rename it: the final name only ever holds whole sets."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(".decoding-*"):  # by runs that were killed; a living one is younger
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=".decoding-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"cannot write the cache folder {folder.parent}: {error}") from error
    try:
        # A memory map is sparse: a disk that fills up under it kills the process without a word.
        needed, free = sum(math.prod(shape) for shape in shapes.values()), shutil.disk_usage(scratch).free
        if needed > free:
            raise DataError(f"the cache folder {folder.parent} needs {needed:,} bytes, its disk has {free:,} left")
        arrays = {
            part: np.lib.format.open_memmap(scratch / f"{part}.npy", "w+", np.uint8, shape)
            for part, shape in shapes.items()
        }
        blank = fill(arrays["images"], arrays["masks"])
        (scratch / "blank.json").write_text(json.dumps(blank), encoding="utf-8")
        for array in arrays.values():
            array.flush()
        try:
            os.replace(scratch, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run was faster and holds the same
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _decode(
    name: str, pairs: Sequence[Pair], images: np.ndarray, masks: np.ndarray, workers: int, progress: bool
) -> Blank:
    def one(i: int) -> tuple[list[str], str | None]:
        """Problems, and which kind of blank the mask is, if any."""
        try:
            image, mask = read_image(pairs[i].image), read_mask(pairs[i].mask)
        except DataError as error:
            return [str(error)], None
        if problem := size_problem(pairs[i], image.shape, mask.shape):
            return problem, None
        images[i] = resize(image, images.shape[-1]).transpose(2, 0, 1)
        masks[i, 0] = resize(mask, masks.shape[-1])
        return [], "black" if mask.max() <= 127 else "white" if mask.min() > 127 else None

    problems: list[str] = []
    blank: Blank = {"black": [], "white": []}
    with ThreadPoolExecutor(max(1, workers)) as pool:  # Pillow decodes and resizes without the interpreter lock
        done = pool.map(one, range(len(pairs)))
        try:
            bar = tqdm(done, total=len(pairs), desc=f"decode {name}", unit="img", disable=not progress)
            for pair, (found, kind) in zip(pairs, bar, strict=True):
                problems += found
                if kind is not None:
                    blank[kind].append(pair.name)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    refuse(problems, len(pairs), name)
    return blank
