"""What a search starts from, opened and checked before its folder is made: a mistake leaves nothing behind."""

import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from genotypes import Genotype, UserError, UserNote
from nas.network import Network, check_single_image, extreme, to_device
from nas.network.member import under_supernet_keys
from nas.network.weights import load_weights
from nas.run import find_checkpoint, load_checkpoint, open_device, seeded
from nas.run.distributed import check_split, processes
from nas.run_files import environment_of
from nas.search.config import SearchConfig, export_space, open_space, study_config
from nas.search.objective import CostObjective, check_member_budget, open_objective
from nas.strategies import STRATEGIES, derivable, member_choices
from nas.task import Batches, PhotoSet, Samples, evenly, split
from nas.task.augmentation import scaled
from nas.training import HeldOut, check_capture, check_compile, check_groups
from nas.trials import TrialsConfig, anchor_storage, check_trials

__all__ = ["SearchSetup", "open_search", "training_side"]

_MEMBERS = 64  # of a space with open widths that are looked at before it is trained, in a tenth of a second
_LEAST = 0.1  # share of the cells' numbers that must fit: a few small tensors fit any width


@dataclass(frozen=True, kw_only=True)
class SearchSetup:
    """Photographs and their parts, the open genotype, the supernet with its initial weights, and the device.

    export: the space at the exported genotype's width; weights, architecture: batches of the two halves; held_out: what
    neither half holds; objective: what the search minds of cost, if anything; study: of one_shot and optuna, where the
    storage is the one that it was when the run began.
    """

    device: torch.device
    space: Genotype
    export: Genotype
    net: Network
    photos: PhotoSet
    weights: Batches
    architecture: Batches
    held_out: HeldOut
    objective: CostObjective | None
    study: TrialsConfig


def open_search(cfg: SearchConfig, *, folder: str | Path | None = None, photos: PhotoSet | None = None) -> SearchSetup:
    """Open what a configuration names; UserError for whatever of it cannot be used.

    folder: of a run to resume. photos: where they are loaded already.
    """
    device = open_device(cfg.device)
    _check_schedule(cfg)
    check_capture(cfg.capture, device)
    _check_compile(cfg, device)
    _check_runtime(cfg)
    _check_ignored(cfg)
    began = environment_of(Path(folder)).get("folder") if folder else None
    trials = study_config(cfg)
    study = replace(trials, storage=anchor_storage(trials.storage, began))
    check_trials(study, objectives=2 if cfg.cost or cfg.whole_networks else 1)  # rivals make one, too
    space, export = open_space(cfg), export_space(cfg)
    _check_choices(cfg, space)
    net = _supernet(cfg, space, device)
    if cfg.start_from and not find_checkpoint(folder):
        _warm_start(net, cfg.start_from)
    objective = None
    if cfg.whole_networks:  # counted and measured one by one: their cost is no sum over edges
        check_member_budget(cfg, space, device)
    else:
        objective = open_objective(cfg, export, Path(folder) if folder else None)
    # A member sees pictures at its own size: from smaller ones it would be trained, and judged, without their detail.
    side = max(cfg.size, *space.input.size) if cfg.whole_networks else training_side(cfg, space)
    photos = (photos or cfg.open_photos(side, teacher=cfg.teacher)).to(device)
    try:
        weight_rows, architecture_rows, held_out_rows = split(len(photos), cfg.fractions, cfg.data_seed)
    except ValueError as error:
        raise UserError(f"fractions {list(cfg.fractions)} of {cfg.data}: {error}") from None
    if cfg.whole_networks:  # nothing but weights is learnt
        weight_rows = torch.cat([weight_rows, architecture_rows])
    samples = partial(Samples, photos=photos, convention=space.input, device=device)
    batches = partial(Batches, batch_size=cfg.batch_size, augment=cfg.augment, seed=cfg.seed)
    return SearchSetup(
        device=device,
        space=space,
        export=export,
        net=net,
        photos=photos,
        weights=batches(samples=samples(rows=weight_rows), stream="weights"),
        architecture=batches(samples=samples(rows=architecture_rows), stream="architecture"),
        held_out=HeldOut(
            samples=samples(rows=evenly(held_out_rows, cfg.held_out_limit)), loss=cfg.loss, chunk=4 * cfg.batch_size
        ),
        objective=objective,
        study=study,
    )


def _supernet(cfg: SearchConfig, space: Genotype, device: torch.device) -> Network:
    """With its initial weights; UserError for what cannot train it."""
    with seeded(cfg.seed):
        net = cfg.strategy.supernet(space, cfg.backbone_weights)
    net = to_device(net, device)
    check_groups(cfg.optim, net)
    check_split(cfg.batch_size, device)
    if processes() > 1:
        _check_shared(cfg, net)
    if cfg.batch_size == 1:
        members = min(map(int, space.choices().get("input.size", space.input.size)))  # see pictures at their own sizes
        side = scaled(training_side(cfg, space), min(cfg.augment.scales))
        check_single_image(net, members if cfg.whole_networks else side)
    return net


def training_side(cfg: SearchConfig, space: Genotype) -> int:
    """Of the pictures that a mixture sees: a space with open widths says for which size it shrinks them."""
    return max(space.input.size) if space.open_widths() else cfg.size


def _check_compile(cfg: SearchConfig, device: torch.device) -> None:
    """UserError for steps that are to be compiled and cannot be."""
    if cfg.compile == "on" and cfg.whole_networks:
        raise UserError(f"--compile on: strategy {cfg.strategy.name} computes another network in each step")
    check_compile(cfg.compile, device)


def _check_runtime(cfg: SearchConfig) -> None:
    """UserError for a runtime that cannot be timed here, or not by this strategy."""
    if cfg.runtime is None:
        return
    if not cfg.whole_networks:
        raise UserError(
            f"runtime {cfg.runtime}: strategy {cfg.strategy.name} needs a table of what candidates cost, and times of "
            f"deployed candidates do not add up to a network's; take --strategy "
            f"{_whole_network_strategies()}, or leave --runtime out"
        )
    from nas.deploy import check_runtime  # brings torch.export and sympy: a second

    check_runtime(cfg.runtime)


def _check_ignored(cfg: SearchConfig) -> None:
    """UserError for an option that has no meaning where members are decided whole."""
    given = {"export_size": cfg.export_size, "export_channels": cfg.export_channels, "rivals": cfg.rivals}
    ignored = [f"--{name}" for name, value in given.items() if value]
    if cfg.whole_networks and ignored:
        raise UserError(
            f"strategy {cfg.strategy.name}: members keep the sizes and widths that the space gives them, and stand "
            f"beside uniform scaling, not beside random rivals: leave out {', '.join(ignored)}"
        )


def _whole_network_strategies() -> str:
    """The strategies that decide whole networks."""
    return ", ".join(name for name in STRATEGIES if STRATEGIES[name].load().whole_networks)


def _check_shared(cfg: SearchConfig, net: Network) -> None:
    """UserError for a strategy whose steps several processes cannot divide among them."""
    if cfg.whole_networks or not cfg.strategy.learns:
        raise UserError(
            f"strategy {cfg.strategy.name}: its steps are not divided among processes; start it with python -m "
            "(docs/several_machines.md)"
        )


def _check_choices(cfg: SearchConfig, space: Genotype) -> None:
    """UserError for choices that a strategy cannot decide, or that leave no network."""
    if cfg.whole_networks or space.open_widths():
        for member in (extreme(space, "smallest"), *(member_choices(space, cfg.seed, n) for n in range(_MEMBERS))):
            space.decide(member)
    if cfg.whole_networks:
        return
    widths = space.open_widths() if cfg.strategy.decides_widths else {}
    others = [choice for choice in space.choices() if choice not in space.open_edges() and choice not in widths]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        decides = "operations and widths" if cfg.strategy.decides_widths else "operations"
        fixed = " (compact: one of --space.sizes, and --space.leave_out none)" if widths else ""
        raise UserError(
            f"strategy {cfg.strategy.name} decides {decides} only; {space.name} also leaves {others[0]}{more} open: "
            f"take --strategy {_whole_network_strategies()}, or a space that fixes them{fixed}"
        )
    if all(len(left) == 1 for left in derivable({**space.open_edges(), **widths}, cfg.strategy).values()):
        raise UserError(f"{space.name}: exclude_none leaves each edge one candidate, and so nothing to decide")
    if widths and cfg.learns_architecture and cfg.cost is None:
        warnings.warn(
            UserNote(f"{space.name} leaves widths open, and no cost counts: the widest are likely to win; --cost macs"),
            stacklevel=2,
        )


def _check_schedule(cfg: SearchConfig) -> None:
    """UserError where a strategy that learns the architecture would never take a step of it: chance would decide."""
    every = cfg.architecture_every
    if cfg.learns_architecture and -(-cfg.warmup // every) * every >= cfg.steps:
        raise UserError(
            f"no architecture step would be made: steps {cfg.steps}, warmup_steps {cfg.warmup}, "
            f"architecture_every {every}; give more --steps, or fewer --warmup_steps (a third of the steps, say)"
        )


@torch.no_grad()
def _warm_start(net: Network, run: str) -> None:
    """Copy what fits from a search's supernet, or from a training's network to the operations that it chose.

    What fits: tensors of the same name and shape. Raises UserError for a folder without weights, and where next to
    nothing of the cells fits.
    """
    trained, checkpoint = Path(run) / "weights.safetensors", find_checkpoint(run)
    searched = (Path(run) / "space.yaml").is_file()  # one of whole networks leaves weights, too: the found member's
    source: Any
    if trained.is_file() and not searched:
        source = under_supernet_keys(*load_weights(trained))
    elif checkpoint is not None:
        source = load_checkpoint(checkpoint).get("net")
    else:
        raise UserError(f"--from {run}: no run with weights (neither weights.safetensors nor a checkpoint in it)")
    if not isinstance(source, dict):
        raise UserError(f"--from {run}: its checkpoint holds no network")
    own = net.state_dict()  # shares memory with the network
    fitting = [name for name, value in own.items() if name in source and source[name].shape == value.shape]
    cells = {name: value.numel() for name, value in own.items() if name.startswith("cells.")}
    share = sum(cells.get(name, 0) for name in fitting) / sum(cells.values())
    if share < _LEAST:
        raise UserError(
            f"--from {run}: its weights fit {share:.1%} of the cells of {net.genotype.name}; "
            "expected a run on this space, with as many channels"
        )
    for name in fitting:
        own[name].copy_(source[name])
