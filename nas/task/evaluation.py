"""Score a network on a data set: the network here, resizing and metrics in other processes meanwhile."""

import hashlib
import math
import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genotypes.errors import UserError
from genotypes.files import content_digest, write_atomically
from nas.allocator import keep_freed_memory
from nas.run.progress import progress_bar
from nas.task.augmentation import pixels
from nas.task.batches import SEEDS_APART
from nas.task.cache import blank_kind, open_photos, tell_blank
from nas.task.folders import Pair, check_sizes, find_maps, find_pairs, is_synthetic, parse_data, refuse, size_problem
from nas.task.photos import NativeSet, PhotoSet
from nas.task.protocol import Protocol
from nas.task.reading import DataError, read_ahead, read_image, read_map, read_mask, resize, write_png
from nas.task.scores import Curves, ImageResult, ImageScore, Scores, merge
from nas.task.splits import spread

__all__ = [
    "Evaluation",
    "check_maps",
    "content_of_sets",
    "evaluate",
    "evaluate_maps",
    "evaluate_protocols",
    "open_test_sets",
]

_AHEAD = 3  # batches decoded, and batches a worker may lag behind
_SYNTHETIC = 128  # side of synthetic pictures where no size is given
_SOCKET_PATH = 60  # of about 107 characters that a socket's path may have; the rest is added by multiprocessing


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a data set, the curves behind them, and a row for each image in the set's order."""

    name: str
    protocol: Protocol
    scores: Scores
    curves: Curves
    per_image: tuple[ImageScore, ...]

    def worst(self, count: int = 10) -> list[ImageScore]:
        """The images of largest error."""
        return sorted(self.per_image, key=lambda row: -row.MAE_raw)[:count]

    def best(self, count: int = 10) -> list[ImageScore]:
        """The images of smallest error."""
        return sorted(self.per_image, key=lambda row: row.MAE_raw)[:count]


class _Item(NamedTuple):
    """An image's name, its mask (an array, or a file), what its (h, w) must agree with, and its map's file, if any."""

    name: str
    mask: np.ndarray | Path
    pair: Pair | None = None
    shape: tuple[int, ...] = ()
    saliency: Path | None = None


class _Batch(NamedTuple):
    """What belongs to each image, and the network's input uint8[B, 3, H, W]."""

    items: list[_Item]
    images: Tensor


class _Task(NamedTuple):
    """What a worker scores: the values float32[h, w] of one image by `Protocol.upsize`, or its map's file."""

    item: _Item
    values: dict[str, np.ndarray]


class _Scored(NamedTuple):
    """An image's results by protocol (none where there is a problem), its problem, "black" or "white" for its mask."""

    results: list[ImageResult]
    problem: str | None = None
    blank: str | None = None


def evaluate(
    predict: Callable[[Tensor], Tensor],
    data: str | PhotoSet | Sequence[Pair],
    *,
    size: int | tuple[int, int],
    protocol: Protocol | None = None,
    **options: Any,
) -> Evaluation:
    """Score predictions on a whole data set, under one protocol (default: ours). See `evaluate_protocols`."""
    return evaluate_protocols(predict, data, size=size, protocols=[protocol or Protocol()], **options)[0]


def evaluate_protocols(
    predict: Callable[[Tensor], Tensor],
    data: str | PhotoSet | Sequence[Pair],
    *,
    size: int | tuple[int, int],
    protocols: Sequence[Protocol],
    logits: Callable[[Tensor], Tensor] | None = None,
    batch_size: int = 16,
    workers: int = 2,
    save_dir: Path | None = None,
    quick: bool = False,
    name: str | None = None,
) -> list[Evaluation]:
    """Score predictions on a whole data set, under several protocols at once: the network runs once.

    Args:
        predict: float32[B, 3, H, W] in 0..1 (RGB, on the CPU or where the PhotoSet is) -> probabilities
            float[B, 1, h, w], any h and w, any device. Called without gradients; the network's mode is the caller's
            concern.
        data: a spec as for `open_photos` or a list of pairs: scored at the masks' own sizes. A PhotoSet: at its size.
        size: (H, W) of the network's input in pixels, or the side of a square.
        protocols: how maps are compared with masks. wF, Sm and Em take most of the time: the first alone has them. All
            must read photographs alike (`antialias`, `native`).
        logits: the network before its sigmoid, for protocols that resize logits; it is then called instead.
        batch_size: images the network sees at a time; 1 where photographs keep their own sizes.
        workers: processes that resize and score; 0 works in this one. The result does not depend on it.
        save_dir: write every map of the first protocol there as 8-bit PNG at the mask's size.
        quick: no wF, Sm and Em at all.
        name: what to call the set; default: its own name.

    Masks that are all black or all white are scored, counted and logged as a warning.

    Raises:
        DataError: see `find_pairs`; also unreadable files, masks that can be read in two ways, images and masks of
            different sizes: all of a set in one message.
        UserError: a scoring process was killed.
    """
    if len({(protocol.antialias, protocol.native) for protocol in protocols}) != 1:
        raise ValueError("protocols that read photographs differently need an evaluation each")
    if not any(protocol.upsize == "logits" for protocol in protocols):
        logits = None
    elif logits is None:
        raise ValueError("a protocol resizes logits, but only probabilities are given")
    shape = (size, size) if isinstance(size, int) else size
    name, count, batches = _batches(data, None if protocols[0].native else shape, batch_size, name, protocols[0])

    def tasks() -> Iterator[list[_Task]]:
        for batch in batches:
            x = pixels(batch.images)
            if logits is None:
                outputs = {"probabilities": predict(x)}
            else:
                out = logits(x).float()
                outputs = {"logits": out, "probabilities": out.sigmoid()}
            values = {kind: _maps(output, len(x)) for kind, output in outputs.items()}
            yield [_Task(item, {k: v[i] for k, v in values.items()}) for i, item in enumerate(batch.items)]

    return _evaluate(name, count, tasks(), protocols, workers, save_dir, quick)


def evaluate_maps(
    folder: Path,
    pairs: Sequence[Pair],
    *,
    protocols: Sequence[Protocol],
    workers: int = 2,
    quick: bool = False,
    name: str = "pairs",
) -> list[Evaluation]:
    """Score maps that any tool has written: FOLDER/NAME.png (or another picture's ending) for each pair.

    A map of another size than its mask is resized to it. See `evaluate_protocols`.

    Raises:
        DataError: maps that are missing or cannot be read, all in one message.
    """
    found = check_maps(folder, pairs, name)
    tasks = ([_Task(_Item(p.name, p.mask, saliency=found[p.name]), {})] for p in pairs)
    return _evaluate(name, len(pairs), tasks, protocols, workers, None, quick)


def check_maps(folder: Path, pairs: Sequence[Pair], name: str) -> dict[str, Path]:
    """The map of each pair of the set `name`, by the pair's name; DataError where one is missing."""
    found, problem = find_maps(folder, [pair.name for pair in pairs])
    if problem:
        raise DataError(f"{name}: {problem}")
    return found


def open_test_sets(
    specs: Sequence[str], size: int, *, seed: int = 0, taken: Sequence[str] = (), limit: int | None = None
) -> dict[str, PhotoSet | list[Pair]]:
    """What `evaluate` takes for each of `NAME=DIR`, `DIR`, `synthetic`, `synthetic:COUNT`.

    size: side of synthetic pictures; taken: names already in use; limit: only so many of each set, evenly spread.
    UserError for a set that is missing, for two sets of one name, and for pairs that cannot be opened or differ in size
    (all of a set in one message, before any work).
    """
    sets: dict[str, PhotoSet | list[Pair]] = {}
    for spec in specs:
        name, source = parse_data(spec)
        if name in sets or name in taken:
            raise UserError(f"two sets are called {name}: give {source} another name with NAME=DIR")
        if is_synthetic(source):
            # None of the pictures that are trained on.
            made = open_photos(spec, size=size, cache_dir=None, seed=seed + SEEDS_APART)
            sets[name] = made if limit is None else made.subset(spread(list(range(len(made))), limit))
        else:
            pairs = spread(find_pairs(source), limit)
            refuse(check_sizes(pairs), len(pairs), name)
            sets[name] = pairs
    return sets


def content_of_sets(sets: Mapping[str, PhotoSet | list[Pair]]) -> dict[str, str]:
    """What several trainings that are scored on these sets must agree with, see `RunFolder.agree`."""
    found = {}
    for name, data in sets.items():
        if isinstance(data, PhotoSet):
            told = data.fingerprint
        else:
            digest = hashlib.blake2b(digest_size=16)
            for pair in data:
                digest.update(f"{content_digest(pair.image)} {content_digest(pair.mask)}\n".encode())
            told = f"{len(data)} photographs ({digest.hexdigest()[:12]})"
        found[f"test set {name}"] = told
    return found


def _maps(out: Tensor, count: int) -> np.ndarray:
    """float32[B, h, w] of a network's output."""
    if out.ndim != 4 or out.shape[:2] != (count, 1):
        raise ValueError(f"predict must give probabilities [{count}, 1, h, w], got {list(out.shape)}")
    return out[:, 0].float().cpu().numpy()


def _evaluate(
    name: str,
    count: int,
    batches: Iterable[list[_Task]],
    protocols: Sequence[Protocol],
    workers: int,
    save_dir: Path | None,
    quick: bool,
) -> list[Evaluation]:
    if save_dir is not None:
        Path(save_dir).mkdir(parents=True, exist_ok=True)
    scored: list[_Scored] = []
    waiting: deque[Future[list[_Scored]]] = deque()
    bar = progress_bar(total=count, desc=f"score {name}", unit="img")
    with bar, _pool(workers) as pool, torch.inference_mode():

        def take(done: list[_Scored]) -> None:
            scored.extend(done)
            bar.update(len(done))

        try:
            for tasks in batches:
                # Small tasks keep all workers busy to the end; order is kept by the queue.
                step = math.ceil(len(tasks) / max(1, workers))
                for start in range(0, len(tasks), step):
                    part = tasks[start : start + step]
                    if pool is None:
                        take(_score(part, protocols, save_dir, quick))
                    else:
                        waiting.append(pool.submit(_score, part, protocols, save_dir, quick))
                while len(waiting) > _AHEAD * workers:
                    take(waiting.popleft().result())
            while waiting:
                take(waiting.popleft().result())
        except BrokenProcessPool:
            raise UserError(
                f"a process that scores {name} was killed; where memory is short, fewer of them help (--workers 0)"
            ) from None
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
    refuse([s.problem for s in scored if s.problem is not None], count, name)
    blank = {kind: [s.results[0].name for s in scored if s.blank == kind] for kind in ("black", "white")}
    tell_blank(name, count, **blank)
    return _merged(name, scored, protocols)


def _merged(name: str, scored: Sequence[_Scored], protocols: Sequence[Protocol]) -> list[Evaluation]:
    """The evaluation of a set under each protocol."""
    evaluations = []
    for i, protocol in enumerate(protocols):
        results = [s.results[i] for s in scored]
        scores, curves = merge(results, protocol)
        rows = tuple(result.row() for result in results)
        evaluations.append(Evaluation(name=name, protocol=protocol, scores=scores, curves=curves, per_image=rows))
    return evaluations


def _batches(
    data: str | PhotoSet | Sequence[Pair],
    shape: tuple[int, int] | None,
    batch_size: int,
    name: str | None,
    protocol: Protocol,
) -> tuple[str, int, Iterator[_Batch]]:
    """The set's name, its images, and batches at `shape`; None: each photograph alone at its own size."""
    if isinstance(data, str):
        given, source = parse_data(data)
        name = name or given
        if is_synthetic(source):
            data = open_photos(data, size=max(shape or (_SYNTHETIC, 0)), cache_dir=None)
        else:
            data = find_pairs(source)
    batch_size = batch_size if shape else 1
    if isinstance(data, NativeSet) and shape:
        raise ValueError(f"{data.name}: photographs at their own sizes are scored under a protocol that is native")
    if isinstance(data, PhotoSet):
        return name or data.name, len(data), _from_photos(data, shape, batch_size, protocol.antialias)
    return name or "pairs", len(data), _from_pairs(data, shape, batch_size, protocol.antialias)


def _from_photos(photos: PhotoSet, shape: tuple[int, int] | None, batch_size: int, antialias: bool) -> Iterator[_Batch]:
    for start in range(0, len(photos), batch_size):
        names = photos.names[start : start + batch_size]
        images, masks = photos.batch(torch.arange(start, start + len(names)))
        if shape and tuple(images.shape[-2:]) != shape:
            pictures = images.permute(0, 2, 3, 1).cpu().numpy()
            images = _stack([resize(one, shape, antialias=antialias) for one in pictures])
        items = [_Item(name, mask) for name, mask in zip(names, masks[:, 0].cpu().numpy(), strict=True)]
        yield _Batch(items, images)


def _from_pairs(
    pairs: Sequence[Pair], shape: tuple[int, int] | None, batch_size: int, antialias: bool
) -> Iterator[_Batch]:
    def load(chosen: Sequence[Pair]) -> _Batch:
        items, images = [], []
        for pair in chosen:  # one at its full size at a time
            image = read_image(pair.image)
            items.append(_Item(pair.name, pair.mask, pair, image.shape))
            images.append(resize(image, shape, antialias=antialias) if shape else image)
        return _Batch(items, _stack(images))

    batches = (pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size))
    return read_ahead(load, batches, _AHEAD)


def _stack(images: list[np.ndarray]) -> Tensor:
    """uint8[B, 3, H, W] of pictures uint8[H, W, 3]."""
    return torch.from_numpy(np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)))


def _pool(workers: int) -> AbstractContextManager[ProcessPoolExecutor | None]:
    if workers < 1:
        return nullcontext()
    # Never plain fork: this process has run torch's threads, and forked locks hang. A fork server forks from a clean
    # process that has imported what scoring needs once. Its socket lies in the folder for temporary files, and the
    # path of a socket may not be long.
    server = "forkserver" in multiprocessing.get_all_start_methods() and len(tempfile.gettempdir()) < _SOCKET_PATH
    context: BaseContext = multiprocessing.get_context("forkserver" if server else "spawn")
    if server:
        context.set_forkserver_preload(["nas.task.evaluation", "nas.task.metrics"])
        _start_server()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)


def _start_server() -> None:
    """Deaf to Ctrl-C from its first moment: it imports for seconds, and the main process is the one to handle it."""
    from multiprocessing import forkserver, resource_tracker  # not on every system

    resource_tracker.ensure_running()  # here, since it leaves Ctrl-C unblocked
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker() -> None:
    """Ctrl-C is the main process's to handle; where that is ended (SIGTERM, no memory), its workers must not stay."""
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a worker"

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def _score(tasks: list[_Task], protocols: Sequence[Protocol], save_dir: Path | None, quick: bool) -> list[_Scored]:
    """A worker's work, in order."""
    return [_score_one(task, protocols, save_dir, quick) for task in tasks]


def _score_one(task: _Task, protocols: Sequence[Protocol], save_dir: Path | None, quick: bool) -> _Scored:
    from nas.task.metrics import score_image  # OpenCV and scipy, for whoever scores

    item = task.item
    try:
        mask = read_mask(item.mask) if isinstance(item.mask, Path) else item.mask
        saliency = None if item.saliency is None else read_map(item.saliency)
    except DataError as error:
        return _Scored([], str(error))
    if item.pair is not None and (problem := size_problem(item.pair, item.shape, mask.shape)):
        return _Scored([], problem[0])
    results, made = [], {}
    for i, protocol in enumerate(protocols):
        key = (protocol.upsize, protocol.interpolation, protocol.rounding)
        if key not in made:
            made[key] = _map(saliency, task.values, protocol, mask.shape)
        results.append(score_image(item.name, made[key], mask, quick=quick or i > 0, protocol=protocol))
        if save_dir is not None and i == 0:
            with write_atomically(Path(save_dir) / f"{item.name}.png", flush=False) as file:
                write_png(made[key], file)
    return _Scored(results, None, blank_kind(mask))


def _map(
    saliency: np.ndarray | None, values: dict[str, np.ndarray], protocol: Protocol, shape: tuple[int, ...]
) -> np.ndarray:
    """The map uint8[H, W] that a protocol scores."""
    if saliency is None:
        return protocol.to_bytes(values[protocol.upsize], shape[0], shape[1])
    if saliency.shape == shape:
        return saliency
    return replace(protocol, upsize="probabilities").to_bytes((saliency / 255).astype(np.float32), shape[0], shape[1])
