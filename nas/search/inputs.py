"""Everything a search reads, opened and checked before its folder is made: a mistake leaves nothing behind."""

from dataclasses import dataclass
from pathlib import Path

import torch

from genotypes import Genotype, UserError
from nas.network import Network, check_single_image
from nas.run import open_device, seeded
from nas.search.config import SearchConfig, export_space, open_space, study_config
from nas.search.objective import CostObjective, open_objective
from nas.search.warm_start import warm_start
from nas.task import Feed, PhotoSet, open_photos, split
from nas.trials import check_trials

__all__ = ["Inputs", "open_inputs"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Photographs and their parts, the open genotype, the supernet with its initial weights, and the device.

    export: the space at the exported genotype's width; train, valid: batches of the two halves;
    held_out: rows of `photos` that neither half holds; objective: what the search minds of cost, if anything.
    """

    device: torch.device
    space: Genotype
    export: Genotype
    net: Network
    photos: PhotoSet
    train: Feed
    valid: Feed
    held_out: torch.Tensor
    objective: CostObjective | None


def open_inputs(cfg: SearchConfig, *, folder: str | Path | None = None, progress: bool = True) -> Inputs:
    """Open what a configuration names; UserError for whatever of it cannot be used. folder: of a run to resume."""
    device = open_device(cfg.device)
    if cfg.strategy.owner.sampler:
        check_trials(study_config(cfg), objectives=2 if cfg.cost else 1)
    space, export = open_space(cfg), export_space(cfg)
    with seeded(cfg.seed):
        net = cfg.strategy.supernet(space, cfg.backbone_weights)
    net = net.to(device, memory_format=torch.channels_last)
    if cfg.batch_size == 1:
        check_single_image(net, cfg.size)
    if cfg.start_from and not (folder and (Path(folder) / "checkpoint.pt").is_file()):
        warm_start(net, cfg.start_from)
    objective = open_objective(cfg, export, Path(folder) if folder else None)
    cache = Path(cfg.cache) if cfg.cache else None
    photos = open_photos(
        cfg.data, size=cfg.size, cache_dir=cache, limit=cfg.limit, seed=cfg.data_seed, progress=progress
    ).to(device)
    try:
        weight_rows, architecture_rows, held_out = split(len(photos), cfg.fractions, cfg.data_seed)
    except ValueError as error:
        raise UserError(f"fractions {list(cfg.fractions)} of {cfg.data}: {error}") from None
    shared = {"photos": photos, "batch_size": cfg.batch_size, "augment": cfg.augment, "convention": space.input}
    shared |= {"device": device, "seed": cfg.seed}
    return Inputs(
        device=device,
        space=space,
        export=export,
        net=net,
        photos=photos,
        train=Feed(rows=weight_rows, stream="weights", **shared),
        valid=Feed(rows=architecture_rows, stream="architecture", **shared),
        held_out=held_out[: cfg.held_out_limit],
        objective=objective,
    )
