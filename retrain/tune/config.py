"""The configuration of `python -m retrain.tune`."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from genotypes import UserError
from genotypes.errors import plural
from nas.options import difference, from_file, owner, to_dict
from nas.task import PhotoOptions
from nas.trials import TrialsConfig
from retrain.recipe import Recipe, load_recipe, recipe_names
from retrain.train import TrainConfig

__all__ = ["TuneConfig", "check_extended", "train_config"]


@dataclass(frozen=True, kw_only=True)
class TuneConfig(PhotoOptions):
    """Which settings to try, on which network and photographs.

    Attributes:
        genotype: what is trained: a name of the zoo, a genotype file, or the folder of a search.
        search: settings of the recipe with what to try: FIELD=A,B,C or, for numbers, FIELD=LOW..HIGH, which are nine
            values evenly spaced on a logarithmic scale (LOW..HIGH:COUNT: so many).
        objective: what makes a setting good on the held-out part: MAE_raw or maxF, at the largest size that is tried.
        recipe: what all trials share; parts of it below.
        trials: the study; count may be raised later.
        backbone_weights: file with the backbone's pre-trained weights, or package; none: it starts at random.
        init: weights of the same network to start from: a name such as sod_s, or a file.
        teacher: another network as a further target, see retrain.train; loss.teacher, which may be tried, is its share.
        unlabelled: folder of photographs without masks, to train on as well; the teacher's maps stand for the masks.
        held_out: share of the photographs that trials are judged by and never trained on.
        held_out_limit: at most so many of them are scored while a trial trains, for the pruner; at its end all are.
        evaluate_every: steps between looks at a trial, for the pruner; 0 for a fifth of its steps.
        workers: processes that score; 0 for none beside this one.
        device: cpu, cuda, or auto.
        seed: of the study, and of every training's weights, order and augmentation.
        out: folder of the study; default the next free runs/tune-NNN. An earlier one is continued.
    """

    genotype: str = ""
    search: tuple[str, ...] = ()
    objective: Literal["MAE_raw", "maxF"] = "MAE_raw"
    recipe: Recipe = owner(load_recipe, recipe_names, "default", "NAME|FILE")
    trials: TrialsConfig = field(default_factory=lambda: TrialsConfig(count=20))
    backbone_weights: str | None = None
    init: str | None = None
    teacher: str | None = None
    unlabelled: str | None = None
    held_out: float = 0.1
    held_out_limit: int = 200
    evaluate_every: int = 0
    workers: int = 0
    device: str = "cpu"
    seed: int = 0
    out: str | None = None

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        return {} if self.teacher else self.recipe.loss.without_teacher("recipe.loss.")


def train_config(cfg: TuneConfig, recipe: Recipe) -> TrainConfig:
    """A training of the study."""
    shared = {f.name for f in fields(TuneConfig)} & {f.name for f in fields(TrainConfig)} - {"out", "recipe"}
    values = {name: getattr(cfg, name) for name in shared}
    if not recipe.loss.teacher and not cfg.unlabelled:  # it has nothing to say where none of the loss is its own
        values["teacher"] = None
    return TrainConfig(recipe=recipe, **values)


def check_extended(cfg: TuneConfig) -> None:
    """UserError where more differs from the study in the folder than how many trials, and where its files are."""
    before = from_file(TuneConfig(), Path(str(cfg.out)) / "config.yaml")
    files = ("teacher", "unlabelled", "init", "backbone_weights")  # of which `RunFolder.agree` checks the content
    moved = [name for name in files if getattr(before, name) and getattr(cfg, name)]
    free = {name: getattr(cfg, name) for name in ("out", "workers", *moved, *cfg.changeable)}
    same = replace(before, **free, trials=replace(before.trials, count=cfg.trials.count))
    if cfg.trials.count < before.trials.count:
        raise UserError(f"{cfg.out}: its study has {plural(before.trials.count, 'trial')}; trials.count can only rise")
    if found := difference(to_dict(same), to_dict(cfg)):
        name, old, new = found
        raise UserError(f"{cfg.out} is a study with {name} {old!r}, not {new!r}: choose another --out")
