"""Every network, and every other tool's maps, on every set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from genotypes import UserError
from genotypes.files import file_name
from nas.cost import count
from nas.cost.clock import milliseconds, warn_if_busy
from nas.run import open_device
from nas.task import Evaluation, Pair, PhotoSet, Protocol, evaluate_maps, evaluate_protocols, open_test_sets
from nas.task.evaluation import check_maps
from retrain.predictor import Predictor, load
from retrain.tables import labelled

__all__ = ["Scored", "load_predictors", "parse_saliency", "score"]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One network's evaluation on one set under one protocol.

    size: the (H, W) it saw; params, macs, latency_ms: its cost at that size, twice where it saw photographs mirrored,
    too. None where maps were given, where sizes differ, and where latency was not measured.
    """

    label: str
    evaluation: Evaluation
    size: tuple[int, int] | None = None
    params: int | None = None
    macs: int | None = None
    latency_ms: float | None = None


def load_predictors(files: Sequence[str], device: str = "cpu", **options: Any) -> dict[str, Predictor]:
    """The networks in weight files, FILE or LABEL=FILE, by label (default: the genotype's name).

    options: those of `retrain.load`. Raises UserError for a file that is not one of ours, and for two networks of one
    label.
    """
    open_device(device)
    networks: dict[str, Predictor] = {}
    for text in files:
        label, path = labelled(text)
        predictor = load(path, device, **options)
        label = label or predictor.genotype.name
        if label in networks:
            raise UserError(f"two networks are called {label}; tell them apart with --weights LABEL=FILE")
        networks[label] = predictor
    return networks


def parse_saliency(texts: Sequence[str], taken: Sequence[str] = ()) -> dict[str, Path]:
    """Folders of maps, DIR or NAME=DIR, by name; UserError for a missing folder and a name in use."""
    folders: dict[str, Path] = {}
    for text in texts:
        label, path = labelled(text)
        label = label or Path(path).resolve().name
        if not Path(path).is_dir():
            raise UserError(f"--saliency {text}: no such folder: {path}")
        if label in folders or label in taken:
            raise UserError(f"two rows are called {label}; tell them apart with --saliency NAME=DIR")
        folders[label] = Path(path)
    return folders


def score(
    networks: Mapping[str, Predictor],
    data: Sequence[str],
    *,
    saliency: Mapping[str, Path] | None = None,
    protocols: Sequence[Protocol] = (Protocol(),),
    batch_size: int = 16,
    workers: int = 2,
    limit: int | None = None,
    quick: bool = False,
    maps: Path | None = None,
    latency: bool = False,
) -> tuple[list[Scored], dict[str, PhotoSet | list[Pair]]]:
    """Score each network, and each folder of maps, on each set (`NAME=DIR`, `DIR`, a .lst file, `synthetic:COUNT`).

    Args:
        networks: by label.
        data: the sets.
        saliency: folders of maps that any tool wrote, by label: DIR/SET/NAME.png, or DIR/NAME.png.
        protocols: a row each; wF, Sm and Em are computed under the first of those that read photographs alike. A
            network that was loaded with `antialias=False` is read so under every protocol.
        limit: only so many of each set, evenly spread.
        batch_size, workers, quick: see `nas.task.evaluate_protocols`.
        maps: folder that gets every map under the first protocol, as LABEL/SET/NAME.png.
        latency: measure what one photograph takes, see `nas.cost.clock.milliseconds`.

    Returns:
        The rows, and the sets by name.

    Raises:
        UserError: a set that is missing or does not fit together; missing maps.
    """
    sides = {max(predictor.size) for predictor in networks.values()} or {_SIDE}
    opened = {side: open_test_sets(data, side, limit=limit) for side in sides}  # all checked before any work
    sets = opened[min(sides)]
    given: list[tuple[str, str, Path, list[Pair]]] = []
    for label, tool in (saliency or {}).items():
        for name, photos in sets.items():
            if isinstance(photos, PhotoSet):
                raise UserError(f"{label} holds maps of photographs, not of the synthetic pictures of {name}")
            source = tool / name if (tool / name).is_dir() else tool
            check_maps(source, photos, name)
            given.append((label, name, source, photos))
    if maps is not None:
        _check_folders(networks)
        _check_folders(sets)
    times = _times(networks) if latency else {}
    shared: dict[str, Any] = {"workers": workers, "quick": quick}
    scored = []
    for label, predictor in networks.items():
        cost, passes = count(predictor.genotype, predictor.size), 2 if predictor.flip else 1
        groups = _by_reading([p if predictor.antialias else p.changed(antialias=False) for p in protocols])
        for name, photos in opened[max(predictor.size)].items():
            folder = None if maps is None else maps / file_name(label) / file_name(name)
            for index, group in enumerate(groups):
                found = evaluate_protocols(
                    predictor.probabilities,
                    photos,
                    size=predictor.size,
                    protocols=group,
                    logits=predictor.logits,
                    batch_size=batch_size,
                    save_dir=None if index else folder,
                    name=name,
                    **shared,
                )
                costs: dict[str, Any] = {"params": cost.params}
                if not group[0].native:
                    costs |= {"size": predictor.size, "macs": passes * cost.macs, "latency_ms": times.get(label)}
                scored += [Scored(label=label, evaluation=evaluation, **costs) for evaluation in found]
    for label, name, source, pairs in given:
        found = evaluate_maps(source, pairs, protocols=protocols, name=name, **shared)
        scored += [Scored(label=label, evaluation=evaluation) for evaluation in found]
    return scored, sets


def _check_folders(names: Iterable[str]) -> None:
    """UserError for two names that are one as a folder of maps: the later maps would replace the earlier ones."""
    folders: dict[str, str] = {}
    for name in names:
        if (other := folders.setdefault(file_name(name).casefold(), name)) != name:
            raise UserError(f"maps of {other} and of {name} would lie in one folder; choose other names")


def _times(networks: Mapping[str, Predictor]) -> dict[str, float]:
    """Milliseconds of one photograph, each as it predicts."""
    calls = {label: partial(p.logits, torch.zeros(1, 3, *p.size)) for label, p in networks.items()}
    devices = [p.device for p in networks.values()]  # all the same one
    with warn_if_busy():
        return milliseconds(calls, device=devices[0] if devices else "cpu", threads=torch.get_num_threads())


_SIDE = 128  # of synthetic pictures where no network says


def _by_reading(protocols: Sequence[Protocol]) -> list[list[Protocol]]:
    """Protocols that read photographs alike, together; the order of the first ones is kept."""
    groups: dict[tuple[bool, bool], list[Protocol]] = {}
    for protocol in protocols:
        groups.setdefault((protocol.native, protocol.antialias), []).append(protocol)
    return list(groups.values())
