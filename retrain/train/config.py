"""The configuration of `python -m retrain.train`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import genotypes
from genotypes.errors import UserError, check_least, check_most
from nas.options import from_file, owner
from nas.run import open_device
from nas.run.sizes import MOST_WORKERS
from nas.run_files import kind_of
from nas.task import PhotoOptions
from nas.task.folders import is_synthetic
from nas.training import LoopOptions, fastest_precision
from retrain.recipe import Recipe, load_recipe, recipe_names
from retrain.train.teaching import teaches

__all__ = ["TrainConfig", "TrainingOptions", "from_search", "search_base"]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(PhotoOptions):
    """Options that a single training and a comparison of several share: a base of their configurations.

    Attributes:
        recipe: a name (such as default, photos_cpu, photos_gpu, minet) or a YAML file; parts of it below.
        teacher: another network as a further target: its name, its weight file, or a folder of its maps. The recipe's
            loss.teacher is its share. A network labels each batch as it was varied, at recipe.size, before
            augment.scales; maps are NAME.png for each photograph, as `retrain.predict IMAGES -o DIR` writes them.
        unlabelled: folder of photographs without masks, to train on as well; the teacher's maps stand for the masks.
        test: sets to score at the end, NAME=DIR each; they take no part in training.
        test_limit: score only so many of each test set, evenly spread.
        held_out: share of the photographs that is scored and never trained on; the same ones whatever is trained.
        held_out_limit: at most so many of them are scored while training; at the end all are.
        evaluate_every: steps between rows of the history, and between checkpoints; 0 for a tenth of the steps.
        quick_scores: at the end F-measures and MAE only; wF, Sm and Em take most of the time.
        workers: processes that score; 0 for none beside this one.
        device: cpu, cuda, or auto.
    """

    recipe: Recipe = owner(load_recipe, recipe_names, "default", "NAME|FILE")
    teacher: str | None = None
    unlabelled: str | None = None
    test: tuple[str, ...] = ()
    test_limit: int | None = None
    held_out: float = 0.1
    held_out_limit: int = 200
    evaluate_every: int = 0
    quick_scores: bool = False
    workers: int = 2
    device: str = "cpu"

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        found = {} if self.test else {"test_limit": "it needs --test"}
        return found | ({} if self.teacher else self.recipe.loss.without_teacher("recipe.loss."))


@dataclass(frozen=True, kw_only=True)
class TrainConfig(LoopOptions, TrainingOptions):
    """What to train, on which photographs, and how.

    Attributes:
        genotype: what is trained: a name of the zoo, a genotype file, or the folder of a search; every edge decided. A
            search's folder takes its data, backbone weights, size and a recipe for them along, unless options differ.
        backbone_weights: file with the backbone's pre-trained weights, or package; none: it starts at random.
        init: weights of the same network to start from: a name such as sod_s, or a file.
        start_from: folder of a search whose genotype is trained, starting from the supernet's weights.
        limit: use only so many photographs with masks of `data`.
        seed: of initial weights, order and augmentation.
        data_seed: of the split and of synthetic pictures; runs that are compared share it.
        out: folder of the run; default the next free runs/train-NNN.
    """

    genotype: str = ""
    backbone_weights: str | None = None
    init: str | None = None
    start_from: str | None = None
    seed: int = 0
    out: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is a share of the photographs in 0..1, not {self.held_out}")
        if sum(map(bool, (self.backbone_weights, self.init, self.start_from))) > 1:
            raise UserError(
                "give one of --backbone_weights, --init (the whole network's weights) and --from (a search's)"
            )
        if self.teacher and not self.recipe.loss.teacher:
            raise UserError("--teacher: its maps have no share in the loss, as recipe.loss.teacher is 0")
        if self.recipe.blend and not teaches(self.teacher):
            raise UserError(
                "recipe.blend: a network labels the blends, the --teacher of retrain.train: a name or a weight file"
            )
        check_least(self, minutes=0, test_limit=1, held_out_limit=1, evaluate_every=0, workers=0, data_seed=0)
        check_most(self, workers=MOST_WORKERS)
        if self.recipe.precision == "auto":  # config.yaml says what it came to, so that a resumed run goes on in it
            chosen = replace(self.recipe, precision=fastest_precision(open_device(self.device)))
            object.__setattr__(self, "recipe", chosen)

    @property
    def changeable(self) -> tuple[str, ...]:
        """See `PhotoOptions`: also what is scored at the end, and by how many processes: memory may be short."""
        return *super().changeable, "teacher", "unlabelled", "test", "test_limit", "workers"

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        whole = {"recipe.init_std": "the whole network starts from weights"} if self.init or self.start_from else {}
        return super().unused() | whole


def from_search(run: Path) -> dict[str, Any]:
    """What a search's folder says about training its genotype, as values of a `TrainConfig`; {} for any other folder.

    The photographs with the same ones held out, the backbone's weights, the device, and a recipe for such data at the
    genotype's input size.
    """
    from nas.search import SearchConfig  # optuna and matplotlib: a second, for whoever trains what a search found

    config, genotype = run / "config.yaml", run / "genotype.yaml"
    if kind_of(run) != "search" or not genotype.is_file():
        return {}
    cfg = from_file(SearchConfig(), config)
    device = open_device("auto").type if cfg.device == "auto" else cfg.device
    recipe = "default" if is_synthetic(cfg.data) else "photos_cpu" if device == "cpu" else "photos_gpu"
    shared = ("data", "limit", "cache", "data_seed", "device", "backbone_weights")
    values = {name: getattr(cfg, name) for name in shared if getattr(cfg, name) is not None}
    size = genotypes.load(genotype).input.size[0]
    return values | {"held_out": cfg.fractions[2], "recipe": {"name": recipe, "size": size}}


def search_base(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the folder of a search implies, where these options name one (see `nas.command.Command.base`)."""
    run = given.get("genotype") or given.get("start_from")
    values = from_search(Path(run)) if run and isinstance(run, str) else {}  # of a file, which may hold anything
    if given.get("init") or given.get("start_from"):  # these hold the backbone's weights, too
        values.pop("backbone_weights", None)
    return str(run), values
