"""What a training starts from, opened and checked before anything is written."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import genotypes
from genotypes import Genotype, UserError
from genotypes.errors import plural
from genotypes.files import content_digest, quoted
from nas.network import Network, build, check_single_image
from nas.network.member import fill_from_supernet
from nas.network.weights import backbone_content, load_weights
from nas.run import find_checkpoint, load_checkpoint, open_device, seeded
from nas.run.distributed import check_split, processes
from nas.task import NativeSet, Pair, PhotoSet, Samples, hold_out, open_test_sets
from nas.task.augmentation import scaled
from nas.training import METRICS, check_compile, check_patterns
from retrain.networks import find_weights
from retrain.train.config import TrainConfig
from retrain.train.teaching import Teacher, teaches

__all__ = ["TrainSetup", "open_training", "start_content", "training_photos"]


@dataclass(frozen=True, kw_only=True)
class TrainSetup:
    """What there is to train with.

    net: with its initial weights; train_rows, held_out_rows: LongTensors, rows of `photos`; tests: sets by name;
    teacher: where it is a network.
    """

    genotype: Genotype
    net: Network
    photos: PhotoSet
    train_rows: torch.Tensor
    held_out_rows: torch.Tensor
    tests: dict[str, PhotoSet | list[Pair]]
    device: torch.device
    teacher: Teacher | None = None

    def samples(self, rows: torch.Tensor) -> Samples:
        """These rows of the photographs, as the network takes them."""
        return Samples(photos=self.photos, rows=rows, convention=self.genotype.input, device=self.device)


def open_training(cfg: TrainConfig, *, genotype: Genotype | None = None, photos: PhotoSet | None = None) -> TrainSetup:
    """What `cfg` names. genotype, photos: where they are loaded already. UserError for anything missing or not fitting.

    The same photographs are held out whatever the genotype and the seed, and they are those that a search with seed
    `data_seed` and the same share holds out.
    """
    device = open_device(cfg.device)
    if cfg.recipe.native:
        _check_native(cfg)
    check_compile(cfg.compile, device)
    genotype = _decided(cfg, genotype or _load(cfg))
    with seeded(cfg.seed):
        net = build(genotype, cfg.backbone_weights)
        start_normal(net, cfg.recipe.init_std)
    if cfg.init:
        _start_from(net, cfg.init)
    if cfg.start_from and not find_checkpoint(cfg.out):
        _inherit(net, Path(cfg.start_from))
    check_split(cfg.recipe.batch_size, device)
    teacher = _teacher(cfg, device)
    tests = open_test_sets(cfg.test, cfg.recipe.size, seed=cfg.data_seed, taken=("held_out",), limit=cfg.test_limit)
    if photos is None:
        photos = training_photos(cfg)
    if cfg.recipe.batch_size == cfg.recipe.passes and cfg.recipe.norms == "train":
        side = scaled(cfg.recipe.size, cfg.recipe.first_size * min(cfg.recipe.augment.scales))
        check_single_image(net, min(map(min, photos.shapes)) if isinstance(photos, NativeSet) else side)
    train_rows, held_out_rows = hold_out(photos.labelled, cfg.held_out, cfg.data_seed, name=cfg.data)
    train_rows = torch.cat([train_rows, torch.arange(photos.labelled, len(photos))])
    return TrainSetup(
        genotype=genotype,
        net=net,
        photos=photos,
        train_rows=train_rows,
        held_out_rows=held_out_rows,
        tests=tests,
        device=device,
        teacher=teacher,
    )


def training_photos(cfg: TrainConfig) -> PhotoSet:
    """The photographs as the recipe wants them, on the device; DataError for what cannot be read."""
    recipe = cfg.recipe
    maps = None if teaches(cfg.teacher) else cfg.teacher
    taught = {"teacher": maps, "unlabelled": cfg.unlabelled}
    photos = cfg.open_photos(recipe.size, masks=recipe.masks, native=recipe.native, **taught)
    return photos.to(open_device(cfg.device))


def start_content(cfg: TrainConfig, genotype: Genotype) -> dict[str, str]:
    """What several trainings of one run must agree with, see `RunFolder.agree`: the weight files that each reads."""
    networks = {"init": cfg.init, "teacher": cfg.teacher if teaches(cfg.teacher) else None}
    found = {f"content of {name}": content_digest(find_weights(file)) for name, file in networks.items() if file}
    return found | backbone_content(genotype, cfg.backbone_weights)


def _check_native(cfg: TrainConfig) -> None:
    """UserError for what needs steps of one shape."""
    for name in ("capture", "compile"):
        if getattr(cfg, name) == "on":
            raise UserError(f"--{name} on: with recipe.native each photograph has a size of its own: auto or off")
    if processes() > 1:
        raise UserError("recipe.native: one training in several processes takes pictures of one size")
    if more := [name for name in METRICS if METRICS[name].source]:
        raise UserError(f"recipe.native: {', '.join(more)} of a plugin takes all maps at one size")


def _teacher(cfg: TrainConfig, device: torch.device) -> Teacher | None:
    if cfg.teacher is None or not teaches(cfg.teacher):
        return None
    if cfg.recipe.native or cfg.unlabelled:
        what = "recipe.native" if cfg.recipe.native else "--unlabelled"
        raise UserError(f"{what}: --teacher must be a folder of maps, one for each photograph, not a network")
    if cfg.recipe.blend and processes() > 1:
        raise UserError("recipe.blend: one training in several processes blends nothing: each has a part of a batch")
    try:
        return Teacher(cfg.teacher, device, cfg.recipe.precision)
    except UserError as error:
        raise UserError(f"--teacher: no folder of maps, and {error}") from None


def start_normal(net: Network, stds: dict[str, float]) -> None:
    """Weights whose names begin with a pattern, from a normal distribution."""
    check_patterns("recipe: init_std", tuple(stds), net)
    for name, parameter in net.named_parameters():
        std = next((std for pattern, std in stds.items() if re.match(pattern, name)), None)
        if std is not None and parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)


def _load(cfg: TrainConfig) -> Genotype:
    """The run's own copy where there is one (a run is continued as it began), else what the configuration names."""
    named = cfg.genotype
    if not named and cfg.start_from:
        named = str(Path(cfg.start_from) / "genotype.yaml")
        if not Path(named).is_file():
            raise UserError(f"--from {cfg.start_from}: no search that has come to its end (no genotype.yaml in it)")
    if not named:
        raise UserError(f"give --genotype NAME or FILE; names: {', '.join(genotypes.names())}")
    own = Path(cfg.out) / "genotype.yaml" if cfg.out else None
    return genotypes.load(own if own is not None and own.is_file() else named)


def _start_from(net: Network, path: str) -> None:
    genotype, state = load_weights(find_weights(path))
    if genotype != net.genotype:
        raise UserError(f"{path} holds weights of another network ({genotype.name}), not of {net.genotype.name}")
    net.load_state_dict(state)


def _inherit(net: Network, run: Path) -> None:
    """The weights that a search's supernet holds for the chosen operations."""
    space, checkpoint = run / "space.yaml", find_checkpoint(run)
    if checkpoint is None or not space.is_file():
        missing = "it has no checkpoint" if checkpoint is None else f"{space.name} is missing"
        raise UserError(f"--from {run}: no search with a trained supernet ({missing})")
    state = load_checkpoint(checkpoint).get("net")
    if not isinstance(state, dict):
        raise UserError(f"{checkpoint}: not the checkpoint of a search")
    opened = genotypes.load(space)
    chosen = net.genotype.graph.operations()
    edges = opened.open_edges()
    if edges.keys() == opened.choices().keys():  # of widths, too, shapes tell
        decided = opened.decide({edge: chosen[edge] for edge in edges}) if edges.keys() <= chosen.keys() else None
        if decided != net.genotype:
            raise UserError(f"{net.genotype.name} is not a genotype of the space that {run} has searched")
    fill_from_supernet(net, opened, state)


def _decided(cfg: TrainConfig, genotype: Genotype) -> Genotype:
    """The genotype with the size it is trained at as its input size: that is what its weights are meant for."""
    if not genotype.is_decided:
        choices = plural(len(genotype.choices()), "choice")
        raise UserError(
            f"{cfg.genotype}: it leaves {choices} open ({next(iter(genotype.choices()))}, ...), "
            f"so there is no one network to train; search first: python -m nas.search --space {quoted(cfg.genotype)}"
        )
    size = (cfg.recipe.size, cfg.recipe.size)
    return genotype.replace(input=dataclasses.replace(genotype.input, size=size))
