"""Every network on every set."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genotypes import UserError
from nas.network import Network
from nas.run import open_device
from nas.task import Evaluation, evaluate
from retrain.predictor import Predictor, load_network
from retrain.test_sets import open_test_sets

__all__ = ["Scored", "load_networks", "score"]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One network's evaluation on one set; size: the (H, W) it saw."""

    label: str
    size: tuple[int, int]
    evaluation: Evaluation


def load_networks(files: Sequence[str]) -> dict[str, Network]:
    """The networks in weight files, FILE or LABEL=FILE, by label (default: the genotype's name).

    Raises UserError for a file that is not one of ours, and for two networks of one label.
    """
    networks: dict[str, Network] = {}
    for text in files:
        label, equals, path = text.partition("=")
        if not equals or not label or Path(text).exists():
            label, path = "", text
        net = load_network(path)
        label = label or net.genotype.name
        if label in networks:
            raise UserError(f"two networks are called {label}; tell them apart with --weights LABEL=FILE")
        networks[label] = net
    return networks


def score(
    networks: Mapping[str, Network],
    data: Sequence[str],
    *,
    size: tuple[int, int] | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    batch_size: int = 16,
    workers: int = 2,
    limit: int | None = None,
    quick: bool = False,
    maps: Path | None = None,
    antialias: bool = True,
    progress: bool = True,
) -> list[Scored]:
    """Score each network on each set (`NAME=DIR`, `DIR`, `synthetic:COUNT`).

    antialias: see `nas.task.read_image`.
    size: the (H, W) that networks see; default what each genotype says. maps: folder that gets every map, as
    LABEL/SET/NAME.png, and loses what it held. Raises UserError for a set that is missing or does not fit together.
    """
    where = open_device(device)
    sizes = {label: size or tuple(net.genotype.input.size) for label, net in networks.items()}
    opened = {label: open_test_sets(data, max(sizes[label])) for label in networks}  # all checked before any work
    if maps is not None:
        shutil.rmtree(maps, ignore_errors=True)
    scored = []
    for label, net in networks.items():
        predict = Predictor(net, where, size=sizes[label], precision=precision)
        for name, photos in opened[label].items():
            evaluation = evaluate(
                predict,
                photos,
                size=max(sizes[label]),
                batch_size=batch_size,
                workers=workers,
                limit=limit,
                quick=quick,
                antialias=antialias,
                save_dir=None if maps is None else maps / label / name,
                name=name,
                progress=progress,
            )
            scored.append(Scored(label=label, size=sizes[label], evaluation=evaluation))
    return scored
