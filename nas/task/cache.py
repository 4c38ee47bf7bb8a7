"""Decode a data set once, keep it as bytes: in memory, or memory-mapped from disk where it is large."""

import hashlib
import json
import logging
import math
import os
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import PIL
import torch

from genotypes.errors import plural
from genotypes.files import file_name, writing
from genotypes.parts import SMALLEST
from nas.run.progress import progress_bar
from nas.task.folders import (
    Pair,
    few,
    find_maps,
    find_pairs,
    is_synthetic,
    name_in,
    name_key,
    parse_data,
    pictures_in,
    refuse,
    size_problem,
)
from nas.task.photos import NativeSet, PhotoSet
from nas.task.reading import READING_VERSION, DataError, header_size, read_image, read_map, read_mask, resize
from nas.task.splits import spread
from nas.task.synthetic import SYNTHETIC_VERSION, synthetic_pictures

__all__ = ["PhotoOptions", "blank_kind", "open_photos", "tell_blank"]

Blank: TypeAlias = dict[str, list[str]]  # "black" and "white": names of masks that are nothing else
Arrays: TypeAlias = Mapping[str, np.ndarray]  # "images", "masks", and "nearest" and "teacher" where they are wanted
Fill: TypeAlias = Callable[[Arrays], Blank]
View: TypeAlias = Callable[[np.ndarray, int], np.ndarray]

_log = logging.getLogger(__name__)

_DAY = 86400
_SYNTHETIC_COUNT = 1200
_SYNTHETIC_MOST = 1_000_000  # their names alone take some 200 MB; beyond, a slip of the keyboard would take all memory
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container's memory
_IN_MEMORY = 4 * 2**30  # bytes; larger sets are memory-mapped where there is a cache to map


@dataclass(frozen=True, kw_only=True)
class PhotoOptions:
    """Which photographs a command opens: the base of its configuration.

    Attributes:
        data: synthetic, synthetic:COUNT, DIR, NAME=DIR or a .lst file.
        limit: use only so many photographs, evenly spread over their names; of synthetic pictures, the first.
        cache: folder that keeps decoded photographs between runs.
        data_seed: of the split and of synthetic pictures.
    """

    data: str = "synthetic"
    limit: int | None = None
    cache: str | None = None
    data_seed: int = 0

    @property
    def changeable(self) -> tuple[str, ...]:
        """Options that a run which goes on may be given anew: where photographs are, whose fingerprint it has noted."""
        return "data", "cache"

    def open_photos(self, size: int, **options: Any) -> PhotoSet:
        """The photographs at this size; options: as `open_photos` has them, which also says what is raised."""
        return open_photos(self.data, size=size, cache_dir=self.cache, limit=self.limit, seed=self.data_seed, **options)

    def identity_of(self, photos: PhotoSet) -> str:
        """What the workers of one study must have alike of the photographs that they have opened.

        Pictures that are made may differ in their last bits between processors, so their version counts.
        """
        made = is_synthetic(parse_data(self.data)[1]) and photos.teacher is None
        return f"pictures that are made, version {SYNTHETIC_VERSION}" if made else photos.fingerprint


def open_photos(
    spec: str,
    *,
    size: int,
    cache_dir: str | Path | None,
    limit: int | None = None,
    seed: int = 0,
    teacher: str | None = None,
    unlabelled: str | None = None,
    masks: Literal["bilinear", "nearest"] = "bilinear",
    native: bool = False,
) -> PhotoSet:
    """Open a data set at one size, decoding it unless an earlier run has done so.

    Args:
        spec: `NAME=DIR`, `DIR`, a `.lst` file, `synthetic` (1,200 images) or `synthetic:COUNT`.
        size: side in pixels; images are squeezed to a square.
        cache_dir: where decoded sets are kept (made if missing); None keeps nothing.
        limit: use only so many images with masks, spread evenly over the sorted names: neighbours are of one kind. Of
            synthetic pictures, whose order says nothing, the first: they are those of a smaller COUNT.
        seed: which synthetic pictures; folders do not use it.
        teacher: folder of another network's maps, FOLDER/NAME.png for each image (see `find_maps`): grey pictures of
            the image's shape, or square, of any size. `retrain.predict IMAGES -o FOLDER` writes them so.
        unlabelled: folder of further images without masks, all below it; they need a teacher.
        masks: how the masks of files are resized that a training reads; nearest takes single pixels, as MINet's. Those
            that judge are bilinear always.
        native: a `NativeSet`: every photograph, its mask and its teacher's map at the photograph's own size. Synthetic
            pictures have `size`.

    The cache's key covers paths, file sizes, times of change, size and how files are read (`READING_VERSION`, and
    Pillow's version): a changed folder is decoded again. A decode that is killed leaves nothing that a later run would
    use. Masks without an object, or without a background, are counted and logged as a warning.

    Raises:
        DataError: see `find_pairs`; also unreadable files, masks that can be read in two ways, images and masks of
            different sizes, missing maps of the teacher and those of another shape: all of them in one message.
    """
    if size < 8:
        raise DataError(f"the size must be at least 8 pixels, got {size}")
    name, source = parse_data(spec)
    entries, labelled = _entries(source, limit, unlabelled, teacher)
    made = labelled if is_synthetic(source) else 0
    own = _own_shapes(name, entries, size) if native else None
    view = _views(own)

    def fill(arrays: Arrays) -> Blank:
        if made:
            for i, (image, mask) in enumerate(synthetic_pictures(made, size, seed)):
                view(arrays["images"], i)[:], view(arrays["masks"], i)[0] = image, mask
        return _decode(name, entries, arrays, view)

    nearest = masks == "nearest" and not made and not native  # synthetic masks are drawn at the size
    if made:
        key = f"synthetic-{size}-v{SYNTHETIC_VERSION}-seed{seed}-n{made}" + "-native" * native
        key += f"-{_fingerprint(entries, size)}" * (teacher is not None)
    else:
        key = f"{file_name(name)}-{'native' if native else size}-{_fingerprint(entries, size)}"
        key += "-with-nearest" * nearest
    parts = {"images": 3, "masks": 1, "nearest": int(nearest), "teacher": int(teacher is not None)}
    total = sum(height * width for height, width in own or ())
    shapes = {
        part: (planes * total,) if own else (len(entries), planes, size, size)
        for part, planes in parts.items()
        if planes
    }
    tensors, blank = _cached(cache_dir, key, shapes, fill)
    tell_blank(name, labelled, **blank)
    names = tuple(entry.name for entry in entries)
    made_of: dict[str, Any] = {"name": name, "names": names, "unlabelled": len(entries) - labelled, **tensors}
    return NativeSet(**made_of, shapes=tuple(own)) if own else PhotoSet(**made_of)


class _Entry(NamedTuple):
    """What is decoded into one row: files, or None for what a synthetic or an unlabelled picture lacks."""

    name: str
    image: Path | None = None
    mask: Path | None = None
    teacher: Path | None = None


def _entries(source: str, limit: int | None, unlabelled: str | None, teacher: str | None) -> tuple[list[_Entry], int]:
    """What `open_photos` opens, and how many of them have masks: the first."""
    if limit is not None and limit < 1:
        raise DataError(f"the limit must be at least 1 image, got {limit}")
    if unlabelled is not None and teacher is None:
        raise DataError(f"unlabelled photographs ({unlabelled}) need a teacher's maps in place of their masks")
    entries = _pictures(source, limit)
    labelled = len(entries)
    if unlabelled is not None:
        entries += _without_masks(Path(unlabelled), {name_key(entry.name) for entry in entries})
    return entries if teacher is None else _with_maps(entries, Path(teacher)), labelled


def _own_shapes(name: str, entries: Sequence[_Entry], size: int) -> list[tuple[int, int]]:
    """(height, width) of every photograph, from its header; DataError with all that are damaged or too small."""
    shapes, problems = [], []
    for entry in entries:
        try:
            height, width = header_size(entry.image) if entry.image else (size, size)
        except DataError as error:
            problems.append(str(error))
            continue
        if min(height, width) < SMALLEST:
            problems.append(f"{entry.image} is {width} x {height}: a network takes {SMALLEST} pixels or more a side")
        shapes.append((height, width))
    refuse(problems, len(entries), name)
    return shapes


def _views(shapes: Sequence[tuple[int, int]] | None) -> View:
    """(array, i) -> where picture i [planes, H, W] lies in an array: of pictures of one size, or of these sizes."""
    if shapes is None:
        return lambda array, i: array[i]
    starts = [0, *accumulate(height * width for height, width in shapes)]

    def view(array: np.ndarray, i: int) -> np.ndarray:
        planes = len(array) // starts[-1]
        return array[planes * starts[i] : planes * starts[i + 1]].reshape(planes, *shapes[i])

    return view


def _pictures(source: str, limit: int | None) -> list[_Entry]:
    """The images with masks."""
    if not is_synthetic(source):
        return [_Entry(*pair) for pair in spread(find_pairs(source), limit)]
    _, _, count = source.partition(":")
    try:
        n = int(count) if count else _SYNTHETIC_COUNT
    except ValueError:
        n = 0
    n = min(n, limit or n)
    if not 1 <= n <= _SYNTHETIC_MOST:
        counts = f"of 1 to {_SYNTHETIC_MOST:,}"
        raise DataError(f"expected synthetic or synthetic:COUNT with a count {counts}, got {source!r}")
    return [_Entry(f"{i:06d}") for i in range(n)]


def _without_masks(folder: Path, taken: set[str]) -> list[_Entry]:
    """All pictures below a folder, named by their path in it, as `find_pairs` names images."""
    if not folder.is_dir():
        raise DataError(f"no such folder of unlabelled photographs: {folder}")
    files, left_out = pictures_in(folder)
    if not files:
        raise DataError(f"{folder} holds no image that Pillow reads")
    if left_out:
        _log.warning("%s: left out %d: %s", folder, len(left_out), few(left_out))
    entries = [_Entry(name_in(folder, file), file) for file in files]
    counts = Counter([*taken, *(name_key(entry.name) for entry in entries)])
    if double := {entry.name for entry in entries if counts[name_key(entry.name)] > 1}:
        twice = f"{plural(len(double), 'name')} used twice"
        raise DataError(f"{folder}: {twice}, so no map is one photograph's: {few(double)}")
    return entries


def _with_maps(entries: Sequence[_Entry], folder: Path) -> list[_Entry]:
    """Each with its teacher's map; DataError for those that have none, together with all that do not fit."""
    found, problem = find_maps(folder, [entry.name for entry in entries])
    taught = [entry._replace(teacher=found.get(entry.name)) for entry in entries]
    if problem:  # else what does not fit is found when it is decoded
        others = [entry for entry in taught if entry.image and entry.teacher]
        refuse([problem, *(line for entry in others for line in _headers(entry))], len(entries), str(folder))
    return taught


def _headers(entry: _Entry) -> list[str]:
    assert entry.image is not None and entry.teacher is not None
    try:
        return _misfit(entry, header_size(entry.image), header_size(entry.teacher))
    except DataError as error:
        return [str(error)]


def _misfit(entry: _Entry, image: tuple[int, ...], saliency: tuple[int, ...]) -> list[str]:
    """One line where a map of (height, width) is neither square nor of the image's shape, to a twentieth."""
    height, width = saliency[:2]
    if height == width or abs(math.log(height * image[1] / (width * image[0]))) < 0.05:
        return []
    return [
        f"image and teacher's map differ in shape: {entry.image} is {image[1]} x {image[0]}, "
        f"{entry.teacher} is {width} x {height} (width x height, upright)"
    ]


def blank_kind(mask: np.ndarray) -> str | None:
    """Of a mask uint8[H, W]: "black" where there is no object, "white" where there is no background; else None."""
    return "black" if mask.max() <= 127 else "white" if mask.min() > 127 else None


def tell_blank(name: str, count: int, *, black: Sequence[str], white: Sequence[str]) -> None:
    """Log how many of a set's masks hold no object, and how many no background."""
    for kind, names in (("all black (no object)", black), ("all white (no background)", white)):
        if names:
            _log.warning("%s: %d of %s %s: %s", name, len(names), plural(count, "mask"), kind, few(names))


def _fingerprint(entries: Sequence[_Entry], size: int) -> str:
    facts: list[object] = [READING_VERSION, PIL.__version__, size]
    for entry in entries:
        for path in filter(None, entry[1:]):
            stat = path.stat()
            facts.append((os.path.abspath(path), stat.st_size, stat.st_mtime_ns))
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=12).hexdigest()


def _cached(
    cache_dir: str | Path | None,
    key: str,
    shapes: Mapping[str, tuple[int, ...]],
    fill: Fill,
) -> tuple[dict[str, torch.Tensor], Blank]:
    """Tensors uint8 of these shapes, and the names of blank masks, under this key.

    `fill` makes what is missing: it writes into the arrays and returns the names.
    """
    needed, memory = sum(math.prod(shape) for shape in shapes.values()), memory_bytes()
    if cache_dir is None:
        if needed > memory:  # the system would end the process without a word
            raise DataError(
                f"the photographs need {needed:,} bytes of memory, and there are {memory:,}: give --cache DIR to keep "
                "them on a disk, a smaller size, or --limit"
            )
        arrays = {part: np.empty(shape, np.uint8) for part, shape in shapes.items()}
        blank = fill(arrays)
        return {part: torch.from_numpy(array) for part, array in arrays.items()}, blank
    folder = Path(cache_dir) / key
    if not folder.is_dir():
        _write(folder, shapes, fill)
    # Copy on write: torch wants writable memory, and no one may change the file by accident.
    mode: Literal["c"] | None = "c" if needed > min(_IN_MEMORY, memory // 2) else None
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
    return {part: torch.from_numpy(array) for part, array in loaded.items()}, blank


def memory_bytes() -> int:
    """The machine's memory, or the container's where that is less; no limit where neither is told, as on Windows."""
    known = [sys.maxsize]
    with suppress(AttributeError, OSError, ValueError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _LIMITS:
        with suppress(OSError, ValueError):  # no such limit, or "max"
            known.append(int(Path(file).read_text()))
    return min(known)


def _write(folder: Path, shapes: Mapping[str, tuple[int, ...]], fill: Fill) -> None:
    """Fill the arrays in a folder beside the final one, then rename it: the final name only ever holds whole sets."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in folder.parent.glob(".decoding-*"):  # by runs that were killed; a living one is younger
            with suppress(FileNotFoundError):  # one that another run has finished meanwhile
                if time.time() - left.stat().st_mtime > _DAY:
                    shutil.rmtree(left, ignore_errors=True)
        scratch = folder.with_name(f".decoding-{uuid.uuid4().hex}")
        scratch.mkdir()  # not tempfile's: who may read other new files may read a cache that is shared
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
        blank = fill(arrays)
        with writing(folder.parent):
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


def _decode(name: str, entries: Sequence[_Entry], arrays: Arrays, view: View) -> Blank:
    """Fill the rows of what has files; DataError with all problems of all of them."""
    native = arrays["masks"].ndim == 1
    blank: Blank = {"black": [], "white": []}
    todo = [i for i, entry in enumerate(entries) if any(entry[1:])]
    problems: list[str] = []

    def one(i: int) -> tuple[list[str], str | None]:
        return _decode_one(entries[i], {part: view(array, i) for part, array in arrays.items()}, native)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes without the interpreter lock
        done = pool.map(one, todo)
        try:
            bar = progress_bar(iterable=done, total=len(todo), desc=f"decode {name}", unit="img")
            for i, (found, kind) in zip(todo, bar, strict=True):
                problems += found
                if kind is not None:
                    blank[kind].append(entries[i].name)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    refuse(problems, len(entries), name)
    return blank


def _decode_one(entry: _Entry, rows: Arrays, native: bool) -> tuple[list[str], str | None]:
    """Fill one row of each array; its problems, and which kind of blank its mask is, if any."""
    try:
        image = None if entry.image is None else read_image(entry.image)
        mask = None if entry.mask is None else read_mask(entry.mask)
        saliency = None if entry.teacher is None else read_map(entry.teacher)
    except DataError as error:
        return [str(error)], None
    problems = []
    if entry.image and entry.mask and image is not None and mask is not None:
        problems += size_problem(Pair(entry.name, entry.image, entry.mask), image.shape, mask.shape)
    if saliency is not None:
        problems += _misfit(entry, (1, 1) if image is None else image.shape, saliency.shape)
    height, width = size = rows["masks"].shape[1:]
    if native and image is not None and image.shape[:2] != size:
        there = f"{image.shape[1]} x {image.shape[0]}"
        problems.append(
            f"{entry.image} is {there} (width x height, upright), not {width} x {height} as its header says"
        )
    if problems:
        return problems, None
    level = saliency if mask is None else mask
    if image is not None and level is not None:
        rows["images"][:] = resize(image, size).transpose(2, 0, 1)
        rows["masks"][0] = resize(level, size)
        if "nearest" in rows:
            rows["nearest"][0] = resize(level, size, nearest=mask is not None)
    if saliency is not None:
        rows["teacher"][0] = resize(saliency, size)
    return [], None if mask is None else blank_kind(mask)
