"""Score a network on a data set: the network here, resizing and metrics in other processes meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from genotypes.errors import UserError
from nas.task.cache import open_photos, spread, tell_blank
from nas.task.folders import Pair, find_pairs, is_synthetic, parse_data, refuse, size_problem
from nas.task.photos import PhotoSet
from nas.task.reading import DataError, read_image, read_mask, resize, to_bytes
from nas.task.scores import Curves, ImageResult, ImageScore, Scores, merge

__all__ = ["Evaluation", "evaluate"]

_AHEAD = 3  # batches decoded, and batches a worker may lag behind
_SOCKET_PATH = 60  # of about 107 characters that a socket's path may have; the rest is added by multiprocessing


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a data set, the curves behind them, and a row for each image in the set's order."""

    name: str
    scores: Scores
    curves: Curves
    per_image: tuple[ImageScore, ...]

    def worst(self, count: int = 10) -> list[ImageScore]:
        """The images of largest error."""
        return sorted(self.per_image, key=lambda row: -row.MAE_raw)[:count]


class _Item(NamedTuple):
    """An image's name, its mask (an array, or a pair's file) and the pair, if it is one, with the image's (h, w)."""

    name: str
    mask: np.ndarray | Path
    pair: Pair | None = None
    shape: tuple[int, int] = (0, 0)


class _Batch(NamedTuple):
    """Network input uint8[B, 3, H, W] and what belongs to each image."""

    images: Tensor
    items: list[_Item]


class _Scored(NamedTuple):
    """An image's result (None where there is a problem), its problem, and "black" or "white" for a blank mask."""

    result: ImageResult | None
    problem: str | None
    blank: str | None


def evaluate(
    predict: Callable[[Tensor], Tensor],
    data: str | PhotoSet | Sequence[Pair],
    *,
    size: int | tuple[int, int],
    batch_size: int = 16,
    workers: int = 2,
    limit: int | None = None,
    save_dir: Path | None = None,
    progress: bool = True,
    quick: bool = False,
    name: str | None = None,
    antialias: bool = True,
) -> Evaluation:
    """Score predictions on a whole data set.

    Args:
        predict: float32[B, 3, H, W] in 0..1 (RGB, on the CPU or where the PhotoSet is) -> probabilities
            float[B, 1, h, w], any h and w, any device. Called without gradients; the network's mode is the caller's
            concern.
        data: a spec as for `open_photos` or a list of pairs: scored at the masks' own sizes. A PhotoSet: at its size.
        size: (H, W) of the network's input in pixels, or the side of a square.
        batch_size: images the network sees at a time.
        workers: processes that resize and score; 0 works in this one. The result does not depend on it.
        limit: only so many images, evenly spread.
        save_dir: write every prediction there as 8-bit PNG at the mask's size.
        progress: show a bar.
        quick: only F-measures and MAE (wF, Sm and Em are most of the work).
        name: what to call the set; default: its own name.
        antialias: how photographs are resized, see `nas.task.resize`.

    Masks that are all black or all white are scored, counted and logged as a warning.

    Raises:
        DataError: see `find_pairs`; also unreadable files, masks that can be read in two ways, images and masks of
            different sizes: all of a set in one message.
        UserError: a scoring process was killed.
    """
    if save_dir is not None:
        Path(save_dir).mkdir(parents=True, exist_ok=True)
    shape = (size, size) if isinstance(size, int) else size
    name, count, batches = _batches(data, shape, batch_size, limit, name, antialias)
    scored: list[_Scored] = []
    names: list[str] = []
    waiting: deque[Future[list[_Scored]]] = deque()
    bar = tqdm(total=count, desc=f"score {name}", unit="img", disable=not progress)
    with bar, _pool(workers) as pool, torch.inference_mode():

        def take(done: list[_Scored]) -> None:
            scored.extend(done)
            bar.update(len(done))

        try:
            for batch in batches:
                probs = predict(batch.images.float() / 255)
                _check(probs, len(batch.items))
                maps = probs[:, 0].float().cpu().numpy()
                names += [item.name for item in batch.items]
                # Small tasks keep all workers busy to the end; order is kept by the queue.
                for part in np.array_split(np.arange(len(maps)), max(1, workers)):
                    if len(part) == 0:
                        continue
                    items = [batch.items[i] for i in part]
                    if pool is None:
                        take(_score(maps[part], items, save_dir, quick))
                    else:
                        waiting.append(pool.submit(_score, maps[part], items, save_dir, quick))
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
    blank = {kind: [n for n, s in zip(names, scored, strict=True) if s.blank == kind] for kind in ("black", "white")}
    tell_blank(name, count, **blank)
    results = [s.result for s in scored if s.result is not None]
    scores, curves = merge(results)
    rows = tuple(ImageScore(r.name, r.MAE_raw, r.avgF) for r in results)
    return Evaluation(name=name, scores=scores, curves=curves, per_image=rows)


def _batches(
    data: str | PhotoSet | Sequence[Pair],
    shape: tuple[int, int],
    batch_size: int,
    limit: int | None,
    name: str | None,
    antialias: bool,
) -> tuple[str, int, Iterator[_Batch]]:
    if isinstance(data, str):
        given, source = parse_data(data)
        name = name or given
        if is_synthetic(source):
            data = open_photos(data, size=max(shape), cache_dir=None, progress=False)
        else:
            data = find_pairs(source)
    if isinstance(data, PhotoSet):
        rows = spread(list(range(len(data))), limit)
        return name or data.name, len(rows), _from_photos(data, rows, shape, batch_size, antialias)
    pairs = spread(list(data), limit)
    return name or "pairs", len(pairs), _from_pairs(pairs, shape, batch_size, antialias)


def _from_photos(
    photos: PhotoSet, rows: list[int], shape: tuple[int, int], batch_size: int, antialias: bool
) -> Iterator[_Batch]:
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        images, masks = photos.batch(torch.tensor(chosen))
        if tuple(images.shape[-2:]) != shape:
            pixels = images.permute(0, 2, 3, 1).cpu().numpy()
            images = _stack([resize(one, shape, antialias=antialias) for one in pixels])
        items = [_Item(photos.names[i], mask) for i, mask in zip(chosen, masks[:, 0].cpu().numpy(), strict=True)]
        yield _Batch(images, items)


def _from_pairs(pairs: list[Pair], shape: tuple[int, int], batch_size: int, antialias: bool) -> Iterator[_Batch]:
    """Decodes a few batches ahead in a thread, so that the network never waits for the disk."""

    def load(chosen: list[Pair]) -> _Batch:
        images = [read_image(pair.image) for pair in chosen]
        items = [
            _Item(pair.name, pair.mask, pair, (image.shape[0], image.shape[1]))
            for pair, image in zip(chosen, images, strict=True)
        ]
        return _Batch(_stack([resize(image, shape, antialias=antialias) for image in images]), items)

    with ThreadPoolExecutor(1) as thread:
        ahead: deque[Future[_Batch]] = deque()
        try:
            for start in range(0, len(pairs), batch_size):
                ahead.append(thread.submit(load, pairs[start : start + batch_size]))
                if len(ahead) >= _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


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
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c_to_the_main_process)


def _leave_ctrl_c_to_the_main_process() -> None:
    """Ctrl-C is the main process's to handle; where that is ended (SIGTERM, no memory), its workers must not stay."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a worker"

    def leave() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def _check(probs: Tensor, count: int) -> None:
    if probs.ndim != 4 or probs.shape[:2] != (count, 1):
        raise ValueError(f"predict must give probabilities [{count}, 1, h, w], got {list(probs.shape)}")


def _score(maps: np.ndarray, items: list[_Item], save_dir: Path | None, quick: bool) -> list[_Scored]:
    """A worker's task: maps float32[b, h, w] -> results, in order."""
    return [_score_one(probs, item, save_dir, quick) for probs, item in zip(maps, items, strict=True)]


def _score_one(probs: np.ndarray, item: _Item, save_dir: Path | None, quick: bool) -> _Scored:
    from nas.task.metrics import score_image  # scipy and scikit-learn: a second, for whoever scores

    try:
        mask = read_mask(item.mask) if isinstance(item.mask, Path) else item.mask
    except DataError as error:
        return _Scored(None, str(error), None)
    if item.pair is not None and (problem := size_problem(item.pair, item.shape, mask.shape)):
        return _Scored(None, problem[0], None)
    pred = to_bytes(probs, mask.shape[0], mask.shape[1])
    if save_dir is not None:
        file = Path(save_dir) / f"{item.name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pred).save(file)
    blank = "black" if mask.max() <= 127 else "white" if mask.min() > 127 else None
    return _Scored(score_image(item.name, pred, mask, quick=quick), None, blank)
