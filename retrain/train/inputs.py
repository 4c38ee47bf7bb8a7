"""Everything a training reads, opened and checked before anything is written."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

import genotypes
from genotypes import Genotype, UserError
from nas.network import Network, build, check_single_image
from nas.network.weights import load_weights
from nas.run import open_device, seeded
from nas.task import Pair, PhotoSet, open_photos, split
from retrain.test_sets import open_test_sets
from retrain.train.config import TrainConfig

__all__ = ["Inputs", "open_inputs"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """net: with its initial weights; train_rows, held_out_rows: LongTensors, rows of `photos`; tests: sets by name."""

    genotype: Genotype
    net: Network
    photos: PhotoSet
    train_rows: torch.Tensor
    held_out_rows: torch.Tensor
    tests: dict[str, PhotoSet | list[Pair]]
    device: torch.device


def open_inputs(
    cfg: TrainConfig,
    *,
    genotype: Genotype | None = None,
    photos: PhotoSet | None = None,
    progress: bool = True,
) -> Inputs:
    """What `cfg` names. genotype, photos: where they are loaded already. UserError for anything missing or not fitting.

    The same photographs are held out whatever the genotype and the seed, and they are those that a search with seed
    `data_seed` and the same share holds out.
    """
    device = open_device(cfg.device)
    genotype = _decided(cfg, genotype or _load(cfg))
    with seeded(cfg.seed):
        net = build(genotype, cfg.weights)
    if cfg.init:
        _start_from(net, cfg.init)
    if cfg.recipe.batch_size == 1:
        check_single_image(net, cfg.recipe.size)
    tests = open_test_sets(cfg.test, cfg.recipe.size, seed=cfg.data_seed, taken=("held_out",))
    if photos is None:
        photos = open_photos(
            cfg.data,
            size=cfg.recipe.size,
            cache_dir=Path(cfg.cache) if cfg.cache else None,
            limit=cfg.limit,
            seed=cfg.data_seed,
            progress=progress,
        ).to(device)
    if len(photos) < 2:
        raise UserError(f"{cfg.data}: a single photograph cannot be both trained on and held out; give two or more")
    share = min(max(cfg.held_out, 1 / len(photos)), 1 - 1 / len(photos))  # at least one image on either side
    train_rows, held_out_rows = split(len(photos), (1 - share, share), cfg.data_seed)
    return Inputs(
        genotype=genotype,
        net=net,
        photos=photos,
        train_rows=train_rows,
        held_out_rows=held_out_rows,
        tests=tests,
        device=device,
    )


def _load(cfg: TrainConfig) -> Genotype:
    """The run's own copy where there is one (a run is continued as it began), else what the configuration names."""
    if not cfg.genotype:
        raise UserError(f"give --genotype NAME or FILE; names: {', '.join(genotypes.names())}")
    own = Path(cfg.out) / "genotype.yaml" if cfg.out else None
    return genotypes.load(own if own is not None and own.is_file() else cfg.genotype)


def _start_from(net: Network, path: str) -> None:
    genotype, state = load_weights(path)
    if genotype != net.genotype:
        raise UserError(f"{path} holds weights of another network ({genotype.name}), not of {net.genotype.name}")
    net.load_state_dict(state)


def _decided(cfg: TrainConfig, genotype: Genotype) -> Genotype:
    """The genotype with the size it is trained at as its input size: that is what its weights are meant for."""
    if not genotype.is_decided:
        raise UserError(
            f"{cfg.genotype}: {len(genotype.open_edges())} edges are open, and {len(genotype.open_widths())} widths, "
            f"so there is no one network to train; search first: python -m nas.search --space {cfg.genotype}"
        )
    size = (cfg.recipe.size, cfg.recipe.size)
    return genotype.replace(input=dataclasses.replace(genotype.input, size=size))
