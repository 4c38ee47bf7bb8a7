"""Every network on every set."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genotypes import UserError
from nas.run import open_device
from nas.task import Evaluation, evaluate
from retrain.outputs import file_name
from retrain.predictor import Predictor, load
from retrain.test_sets import open_test_sets

__all__ = ["Scored", "load_predictors", "score"]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One network's evaluation on one set; size: the (H, W) it saw."""

    label: str
    size: tuple[int, int]
    evaluation: Evaluation


def load_predictors(files: Sequence[str], device: str = "cpu", **options: Any) -> dict[str, Predictor]:
    """The networks in weight files, FILE or LABEL=FILE, by label (default: the genotype's name).

    options: those of `retrain.load`.

    Raises UserError for a file that is not one of ours, and for two networks of one label.
    """
    open_device(device)
    networks: dict[str, Predictor] = {}
    for text in files:
        label, equals, path = text.partition("=")
        if not equals or not label or Path(text).exists():
            label, path = "", text
        predictor = load(path, device, **options)
        label = label or predictor.genotype.name
        if label in networks:
            raise UserError(f"two networks are called {label}; tell them apart with --weights LABEL=FILE")
        networks[label] = predictor
    return networks


def score(
    networks: Mapping[str, Predictor],
    data: Sequence[str],
    *,
    batch_size: int = 16,
    workers: int = 2,
    limit: int | None = None,
    quick: bool = False,
    maps: Path | None = None,
    progress: bool = True,
) -> list[Scored]:
    """Score each network on each set (`NAME=DIR`, `DIR`, `synthetic:COUNT`).

    maps: folder that gets every map, as
    LABEL/SET/NAME.png, and loses what it held. Raises UserError for a set that is missing or does not fit together.
    """
    sides = {max(predictor.size) for predictor in networks.values()}
    opened = {side: open_test_sets(data, side, limit=limit) for side in sides}  # all checked before any work
    if maps is not None:
        shutil.rmtree(maps, ignore_errors=True)
    scored = []
    for label, predictor in networks.items():
        for name, photos in opened[max(predictor.size)].items():
            evaluation = evaluate(
                predictor.probabilities,
                photos,
                size=predictor.size,
                batch_size=batch_size,
                workers=workers,
                limit=limit,
                quick=quick,
                antialias=predictor.antialias,
                save_dir=None if maps is None else maps / file_name(label) / file_name(name),
                name=name,
                progress=progress,
            )
            scored.append(Scored(label=label, size=predictor.size, evaluation=evaluation))
    return scored
