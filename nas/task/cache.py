"""Decode a data set once, keep it as bytes: in memory, or memory-mapped from disk where it is large."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

from nas.task.decode import read_pair
from nas.task.errors import DataError
from nas.task.folders import Pair, find_pairs, is_synthetic, parse_data
from nas.task.photos import PhotoSet
from nas.task.synthetic import SYNTHETIC_VERSION, synthetic_set

__all__ = ["open_photos", "spread"]

T = TypeVar("T")

_VERSION = 1  # raise when decoding changes: old cache files are then not found any more
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

    The cache's key covers paths, file sizes, times of change, size and version: a changed folder is decoded again.
    A decode that is killed leaves nothing that a later run would use.

    Raises:
        DataError: see `find_pairs`; also an unreadable file, or an image and mask of different sizes.
    """
    if size < 8:
        raise DataError(f"the size must be at least 8 pixels, got {size}")
    if limit is not None and limit < 1:
        raise DataError(f"the limit must be at least 1 image, got {limit}")
    name, source = parse_data(spec)
    if is_synthetic(source):
        return _open_synthetic(name, source, size, cache_dir, limit, seed, in_memory)
    pairs = spread(find_pairs(source), limit)

    def decode(images: np.ndarray, masks: np.ndarray) -> None:
        _decode(pairs, images, masks, workers, f"decode {name}" if progress else None)

    key = _fingerprint(pairs, size)
    images, masks = _cached(cache_dir, f"{name}-{size}-{key}", len(pairs), size, decode, in_memory)
    return PhotoSet(name=name, images=images, masks=masks, names=tuple(pair.name for pair in pairs))


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

    def make(images: np.ndarray, masks: np.ndarray) -> None:
        made = synthetic_set(n, size, seed)
        images[:], masks[:] = made.images.numpy(), made.masks.numpy()

    key = f"synthetic-{size}-v{SYNTHETIC_VERSION}-seed{seed}-n{n}"
    images, masks = _cached(cache_dir, key, n, size, make, in_memory)
    return PhotoSet(name=name, images=images, masks=masks, names=tuple(f"{i:06d}" for i in range(n)))


def _fingerprint(pairs: Sequence[Pair], size: int) -> str:
    entries: list[object] = [_VERSION, size]
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
    fill: Callable[[np.ndarray, np.ndarray], None],
    in_memory: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """images uint8[n, 3, size, size] and masks uint8[n, 1, size, size] under this key; `fill` makes what is missing."""
    shapes = {"images": (n, 3, size, size), "masks": (n, 1, size, size)}
    if cache_dir is None:
        arrays = {part: np.empty(shape, np.uint8) for part, shape in shapes.items()}
        fill(arrays["images"], arrays["masks"])
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["masks"])
    folder = Path(cache_dir) / key
    if not folder.is_dir():
        _write(folder, shapes, fill)
    # Copy on write: torch wants writable memory, and no one may change the file by accident.
    mode = "c" if sum(np.prod(shape) for shape in shapes.values()) > in_memory else None
    loaded = {}
    for part, shape in shapes.items():
        file = folder / f"{part}.npy"
        try:
            loaded[part] = np.load(file, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"cannot read the cache {file}: {error}; delete {folder} and start again") from error
        if loaded[part].shape != shape or loaded[part].dtype != np.uint8:
            raise DataError(f"the cache {file} holds {loaded[part].shape}, expected {shape}; delete {folder}")
    return torch.from_numpy(loaded["images"]), torch.from_numpy(loaded["masks"])


def _write(folder: Path, shapes: dict[str, tuple[int, ...]], fill: Callable[[np.ndarray, np.ndarray], None]) -> None:
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
        fill(arrays["images"], arrays["masks"])
        for array in arrays.values():
            array.flush()
        try:
            os.replace(scratch, folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run was faster and holds the same
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _decode(pairs: Sequence[Pair], images: np.ndarray, masks: np.ndarray, workers: int, bar: str | None) -> None:
    def one(i: int) -> None:
        image, mask = read_pair(pairs[i], images.shape[-1])
        images[i], masks[i, 0] = image.transpose(2, 0, 1), mask

    with ThreadPoolExecutor(max(1, workers)) as pool:  # Pillow decodes and resizes without the interpreter lock
        done = pool.map(one, range(len(pairs)))
        try:
            for _ in tqdm(done, total=len(pairs), desc=bar, unit="img", disable=bar is None):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
