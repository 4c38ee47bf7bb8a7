"""Score a network on a data set: the network here, resizing and metrics in other processes meanwhile."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from nas.task.cache import open_photos, spread
from nas.task.decode import read_mask, read_pair
from nas.task.errors import DataError
from nas.task.folders import Pair, find_pairs, is_synthetic, parse_data
from nas.task.metrics import Curves, ImageResult, ImageScore, Scores, merge, score_image, to_bytes
from nas.task.photos import PhotoSet

__all__ = ["Evaluation", "evaluate"]

_AHEAD = 3  # batches decoded, and batches a worker may lag behind


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


class _Batch:
    """Network input uint8[B, 3, S, S] and, for each image, its name and its mask (an array, or the file)."""

    def __init__(self, images: Tensor, names: list[str], masks: list[np.ndarray | Path]) -> None:
        self.images, self.names, self.masks = images, names, masks


def evaluate(
    predict: Callable[[Tensor], Tensor],
    data: str | PhotoSet | Sequence[Pair],
    *,
    size: int,
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
        predict: float32[B, 3, S, S] in 0..1 (RGB, on the CPU or where the PhotoSet is) -> probabilities
            float[B, 1, s, s], any s, any device. Called without gradients; the network's mode is the caller's concern.
        data: a spec as for `open_photos` or a list of pairs: scored at the masks' own sizes. A PhotoSet: at its size.
        size: side of the network's input in pixels; a PhotoSet has its own, which must agree.
        batch_size: images a call of `predict`.
        workers: processes that resize and score; 0 works in this one. The result does not depend on it.
        limit: only so many images, evenly spread.
        save_dir: write every prediction there as 8-bit PNG at the mask's size.
        progress: show a bar.
        quick: only F-measures and MAE (wF, Sm and Em are most of the work).
        name: what to call the set; default: its own name.
        antialias: how photographs of a folder are resized, see `read_image`.

    Raises:
        DataError: see `find_pairs` and `open_photos`.
    """
    if save_dir is not None:
        Path(save_dir).mkdir(parents=True, exist_ok=True)
    name, count, batches = _batches(data, size, batch_size, limit, name, antialias)
    results: list[ImageResult] = []
    waiting: deque[Future[list[ImageResult]]] = deque()
    bar = tqdm(total=count, desc=f"score {name}", unit="img", disable=not progress)
    with bar, _pool(workers) as pool, torch.inference_mode():

        def collect() -> None:
            done = waiting.popleft().result()
            results.extend(done)
            bar.update(len(done))

        try:
            for batch in batches:
                probs = predict(batch.images.float() / 255)
                _check(probs, len(batch.names))
                maps = probs[:, 0].float().cpu().numpy()
                # Small tasks keep all workers busy to the end; order is kept by the queue.
                for part in np.array_split(np.arange(len(maps)), max(1, workers)):
                    if len(part) == 0:
                        continue
                    names, masks = [batch.names[i] for i in part], [batch.masks[i] for i in part]
                    if pool is None:
                        results.extend(_score(names, maps[part], masks, save_dir, quick))
                        bar.update(len(part))
                    else:
                        waiting.append(pool.submit(_score, names, maps[part], masks, save_dir, quick))
                while len(waiting) > _AHEAD * workers:
                    collect()
            while waiting:
                collect()
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
    scores, curves = merge(results)
    rows = tuple(ImageScore(r.name, r.MAE_raw, r.avgF) for r in results)
    return Evaluation(name=name, scores=scores, curves=curves, per_image=rows)


def _batches(
    data: str | PhotoSet | Sequence[Pair],
    size: int,
    batch_size: int,
    limit: int | None,
    name: str | None,
    antialias: bool,
) -> tuple[str, int, Iterator[_Batch]]:
    if isinstance(data, str):
        given, source = parse_data(data)
        name = name or given
        if is_synthetic(source):
            data = open_photos(data, size=size, cache_dir=None, progress=False)
        else:
            data = find_pairs(source)
    if isinstance(data, PhotoSet):
        if data.size != size:
            raise DataError(f"the photographs of {data.name} are {data.size} px, the network is to see {size} px")
        rows = spread(list(range(len(data))), limit)
        return name or data.name, len(rows), _from_photos(data, rows, batch_size)
    pairs = spread(list(data), limit)
    return name or "pairs", len(pairs), _from_pairs(pairs, size, batch_size, antialias)


def _from_photos(photos: PhotoSet, rows: list[int], batch_size: int) -> Iterator[_Batch]:
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        images, masks = photos.batch(torch.tensor(chosen))
        yield _Batch(images, [photos.names[i] for i in chosen], list(masks[:, 0].cpu().numpy()))


def _from_pairs(pairs: list[Pair], size: int, batch_size: int, antialias: bool) -> Iterator[_Batch]:
    """Decodes a few batches ahead in a thread, so that the network never waits for the disk."""

    def load(chosen: list[Pair]) -> _Batch:
        images = np.stack([read_pair(pair, size, antialias=antialias)[0] for pair in chosen]).transpose(0, 3, 1, 2)
        tensor = torch.from_numpy(np.ascontiguousarray(images))
        return _Batch(tensor, [pair.name for pair in chosen], [pair.mask for pair in chosen])

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


def _pool(workers: int) -> ProcessPoolExecutor | nullcontext[None]:
    if workers < 1:
        return nullcontext()
    # Never plain fork: this process has run torch's threads, and forked locks hang. A fork server forks from a clean
    # process that has imported what scoring needs once.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["nas.task.evaluation"])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_ctrl_c_to_the_main_process)


def _leave_ctrl_c_to_the_main_process() -> None:
    """Ctrl-C is the main process's to handle; where that is ended (SIGTERM, no memory), its workers must not stay."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def leave() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()


def _check(probs: Tensor, count: int) -> None:
    if probs.ndim != 4 or probs.shape[:2] != (count, 1):
        raise ValueError(f"predict must give probabilities [{count}, 1, h, w], got {list(probs.shape)}")
    if not bool(torch.isfinite(probs).all()):
        raise DataError("the network gave values that are not finite: were its weights trained to the end?")


def _score(
    names: list[str],
    maps: np.ndarray,
    masks: list[np.ndarray | Path],
    save_dir: Path | None,
    quick: bool,
) -> list[ImageResult]:
    """A worker's task: maps float32[b, h, w] -> results, in order."""
    results = []
    for name, probs, mask in zip(names, maps, masks, strict=True):
        mask = read_mask(mask) if isinstance(mask, Path) else mask
        pred = to_bytes(probs, *mask.shape)
        if save_dir is not None:
            Image.fromarray(pred).save(Path(save_dir) / f"{name}.png")
        results.append(score_image(name, pred, mask, quick=quick))
    return results
